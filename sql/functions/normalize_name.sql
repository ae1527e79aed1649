-- canon.normalize_name
-- Folded name; null when it is only placeholder words (domain.md 4.5, F24).
create or replace function canon.normalize_name(raw text) returns text
language plpgsql immutable parallel safe
as $$
declare
    name text := canon.fold_name(raw);
begin
    if name ~ '^(TEST|PRUEBA|CONDUCTOR|DRIVER|SIN|NOMBRE|DATOS|NN|NA|NO|TIENE|XX|XXX|NULL|NONE|PENDIENTE)( |$)'
        and string_to_array(name, ' ') <@ array[
            'TEST', 'PRUEBA', 'CONDUCTOR', 'DRIVER', 'SIN', 'NOMBRE', 'DATOS', 'NN', 'NA', 'NO',
            'TIENE', 'XX', 'XXX', 'NULL', 'NONE', 'PENDIENTE'
        ]
    then
        return null;
    end if;
    return name;
end
$$;
