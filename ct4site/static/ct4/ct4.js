"use strict";
// The navigation button. Wide screens show the navigation unless it was closed (remembered);
// narrow screens hide it unless it was opened (not remembered).
{
    const KEY = "ct4.navigation";
    const button = document.getElementById("nav-button");
    const navigation = document.getElementById("site-nav");
    const narrow = window.matchMedia("(max-width: 1023px)");
    const root = document.documentElement;

    const show = (open) => {
        root.dataset.navigation = open ? "open" : "closed";
        button.setAttribute("aria-expanded", String(open));
    };

    if (button && navigation) {
        const adapt = () => show(!narrow.matches && localStorage.getItem(KEY) !== "closed");
        adapt();
        narrow.addEventListener("change", adapt);
        button.addEventListener("click", () => {
            const open = root.dataset.navigation !== "open";
            show(open);
            if (!narrow.matches) {
                localStorage.setItem(KEY, open ? "open" : "closed");
            }
        });
        document.addEventListener("keydown", (event) => {
            if (event.key === "Escape" && narrow.matches && root.dataset.navigation === "open") {
                show(false);
                button.focus();
            }
        });
        const current = navigation.querySelector("[aria-current]");
        if (current) {
            // Only the navigation itself may scroll: scrollIntoView would move the page too.
            navigation.scrollTop = Math.max(0, current.offsetTop - navigation.clientHeight / 2);
        }
    }

    const menu = document.querySelector(".user-menu");
    if (menu) {
        document.addEventListener("click", (event) => {
            if (!menu.contains(event.target)) {
                menu.open = false;
            }
        });
    }

    // A result table that is wider than its frame must be reachable by keyboard.
    document.querySelectorAll(".results").forEach((frame) => {
        frame.tabIndex = 0;
        frame.setAttribute("role", "region");
        frame.setAttribute("aria-label", document.querySelector("h1")?.textContent ?? "");
    });

    document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
}
