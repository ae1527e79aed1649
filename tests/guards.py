"""What the database refuses in histories, let through for a moment."""

_SWITCH = """
do $$
declare
    guard record;
begin
    for guard in
        select tgrelid::regclass as name, tgname from pg_trigger where tgfoid = 'ops.refuse_change'::regproc
    loop
        execute 'alter table ' || guard.name || ' {how} trigger ' || quote_ident(guard.tgname);
    end loop;
end
$$;
"""


def unguarded(statements: str) -> str:
    """Return SQL statements that may also change and empty append-only tables."""
    return _SWITCH.format(how="disable") + statements.rstrip().rstrip(";") + ";" + _SWITCH.format(how="enable always")
