"use strict";
// Keys of review: from the queue to the decision and on to the next case without a mouse.
{
    const typing = (element) => element.matches("input:not([type=radio], [type=checkbox]), textarea, select");
    const go = (address) => {
        if (address) {
            window.location.assign(address);
        }
    };

    const queue = document.querySelector("[data-queue]");
    const page = document.querySelector("[data-case]");
    const help = document.getElementById("key-help");

    const rows = () => [...document.querySelectorAll("#result_list tbody tr")];
    const move = (step) => {
        const all = rows();
        const at = all.findIndex((row) => row.classList.contains("at-hand"));
        const next = all[Math.min(all.length - 1, Math.max(0, at + step))];
        if (next) {
            all.forEach((row) => row.classList.remove("at-hand"));
            next.classList.add("at-hand");
            next.querySelector("a")?.focus();
        }
    };
    const inQueue = {
        j: () => move(1),
        k: () => move(-1),
        u: () => go(queue.querySelector("[data-undo]")?.href),
    };

    const pick = (number) => {
        const radio = page.querySelector(`input[name=pick][data-number="${number}"]`);
        if (radio) {
            radio.checked = true;
            const field = radio.closest(".pick").querySelector(".pick-fields input, .pick-fields select");
            (field ?? document.getElementById("id_reason_code")).focus();
        }
    };
    const inCase = {
        n: () => go(page.dataset.next),
        q: () => go(page.dataset.queueAddress),
        u: () => go(page.dataset.undo),
        s: () => page.querySelector("[data-save=yes]")?.click(),
        "?": () => help?.showModal(),
    };

    if (queue || page) {
        document.addEventListener("keydown", (event) => {
            if (event.ctrlKey || event.altKey || event.metaKey || help?.open) {
                return;
            }
            if (event.key === "Escape" && typing(event.target)) {
                event.target.blur();
                return;
            }
            if (typing(event.target)) {
                return;
            }
            const act = page ? inCase[event.key] : inQueue[event.key];
            if (act) {
                event.preventDefault();
                act();
            } else if (page && /^[1-9]$/.test(event.key)) {
                event.preventDefault();
                pick(event.key);
            }
        });
        // What was previewed is no longer what would be decided.
        page?.querySelector(".decide-form")?.addEventListener("change", (event) => {
            if (event.target.name !== "reason_text" && event.target.name !== "reason_code") {
                page.querySelector(".consequences")?.remove();
                page.querySelector("[name=preview]")?.setAttribute("data-save", "yes");
            }
        });
    }
}
