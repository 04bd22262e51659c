"use strict";
/* Fetches the page again and puts what has changed into its live parts. Stops while the page is hidden or paused. */
{
    const bar = document.getElementById("cutover-refresh");
    const trouble = bar.querySelector(".cutover-trouble");
    const button = bar.querySelector(".cutover-pause");
    const usual = Number(bar.dataset.every) * 1000;
    let timer = 0, isPaused = false, isAsking = false, since = new Date();

    const keyOf = (element) => element && (element.dataset.key || element.id);

    const put = (part, fresh) => {
        if (part.className !== fresh.className) part.className = fresh.className;
        const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
        for (const id of open) fresh.querySelector(`#${id}`)?.setAttribute("open", "");
        if (part.innerHTML === fresh.innerHTML) return;
        const selected = getSelection();
        if (selected && !selected.isCollapsed && selected.containsNode(part, true)) return;
        const focused = part.contains(document.activeElement) ? keyOf(document.activeElement) : "";
        const scrolled = new Map([...part.querySelectorAll(".cutover-wide")].map((one) => [one.id, one.scrollLeft]));
        part.replaceChildren(...fresh.childNodes);
        for (const [id, left] of scrolled) {
            const one = document.getElementById(id);
            if (one) one.scrollLeft = left;
        }
        if (focused && document.activeElement !== part) {
            const again = [...part.querySelectorAll("[data-key], [id]")].find((one) => keyOf(one) === focused);
            again?.focus({ preventScroll: true });
        }
    };

    const show = (text) => {
        const page = new DOMParser().parseFromString(text, "text/html");
        const place = [scrollX, scrollY];
        if (!page.getElementById(bar.id)) throw new Error("you may be signed out, reload the page");
        const parts = [...document.querySelectorAll("[data-live]")];
        const those = (root) => [...root.querySelectorAll("[data-live]")].map((one) => one.id).join(" ");
        if (those(page) !== those(document)) return location.reload(); // as once the database is there again
        for (const part of parts) put(part, page.getElementById(part.id));
        scrollTo(...place);
    };

    const refresh = async () => {
        if (isAsking || isPaused || document.hidden) return;
        isAsking = true;
        clearTimeout(timer);
        const began = performance.now();
        try {
            const answer = await fetch(location.href, { credentials: "same-origin", signal: AbortSignal.timeout(30000) });
            if (!answer.ok) throw new Error(`the site answered ${answer.status}`);
            show(await answer.text());
            since = new Date();
            trouble.textContent = "";
        } catch (error) {
            const why = error instanceof TypeError || error.name === "TimeoutError" ? "no answer" : error.message;
            const said = `Could not refresh since ${since.toLocaleTimeString()}: ${why}. Trying again.`;
            if (trouble.textContent !== said) trouble.textContent = said;
        }
        isAsking = false;
        wait(Math.max(usual, 4 * (performance.now() - began)));
    };

    const wait = (ms) => {
        clearTimeout(timer);
        if (!isPaused && !document.hidden) timer = setTimeout(refresh, ms);
    };

    button.hidden = false;
    button.addEventListener("click", () => {
        isPaused = !isPaused;
        button.textContent = isPaused ? "Go on" : "Pause";
        clearTimeout(timer);
        refresh();
    });
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
    wait(usual);
}
