"use strict";
/* Fetches the page again and changes, node by node, what has changed: who reads, types or listens stays where they are.
   What is shown is said to be old once it is, whatever the reason. Asks nothing while the page is hidden or paused. */
{
    const bar = document.getElementById("cutover-refresh");
    const note = bar.querySelector(".cutover-trouble");
    const button = bar.querySelector(".cutover-pause");
    // Under Trusted Types a browser parses only what a policy has let through. What is parsed here is never run.
    const asText = { createHTML: (text) => text };
    const trusted = globalThis.trustedTypes?.createPolicy("cutover", asText) ?? asText;
    const usual = Number(bar.dataset.every) * 1000;
    const OLD = 6 * usual, PATIENCE = 30000;
    let timer = 0, isPaused = false, isAsking = false, trouble = "", took = 0;
    let shownAt = Date.now() - performance.now(); // an answer is not younger than its question
    const instantOf = (page) => page.querySelector("#cutover-as-of time").dateTime;
    const seen = new Set([instantOf(document)]);

    const keyOf = (node) => node.dataset?.key || node.id || "";
    const isAlike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

    const patch = (old, fresh) => {
        if (old.nodeType !== Node.ELEMENT_NODE) {
            if (old.data !== fresh.data) old.data = fresh.data;
            return;
        }
        for (const { name } of [...old.attributes])
            if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name); // who unfolded it folds it
        for (const { name, value } of fresh.attributes)
            if (old.getAttribute(name) !== value) old.setAttribute(name, value);
        const rest = [...old.childNodes];
        const wanted = [...fresh.childNodes].map((next) => {
            const at = rest.findIndex((one) => isAlike(one, next));
            if (at < 0) return document.importNode(next, true);
            const [kept] = rest.splice(at, 1);
            patch(kept, next);
            return kept;
        });
        for (const one of rest) one.remove();
        // What has the focus would lose it if it were moved: the others are put around it.
        const still = Math.max(0, wanted.findIndex((one) => one.contains(document.activeElement)));
        if (wanted.length && wanted[still].parentNode !== old) old.append(wanted[still]);
        for (let n = still - 1; n >= 0; n--)
            if (wanted[n].nextSibling !== wanted[n + 1]) old.insertBefore(wanted[n], wanted[n + 1]);
        for (let n = still + 1; n < wanted.length; n++)
            if (wanted[n].previousSibling !== wanted[n - 1]) wanted[n - 1].after(wanted[n]);
    };

    const show = (page) => {
        const around = [];
        for (let one = document.activeElement; one; one = one.parentElement) around.push(one);
        for (const part of document.querySelectorAll("[data-live]")) patch(part, page.getElementById(part.id));
        if (!around[0]?.isConnected) // it is there no more: go on from what was around it
            around.find((one) => one.isConnected && one.hasAttribute("tabindex"))?.focus({ preventScroll: true });
    };

    const ask = async () => {
        const signal = AbortSignal.timeout(PATIENCE);
        let answer, text;
        try {
            // Who is signed out is led away, perhaps to another site, of which a page may read nothing.
            const how = { cache: "no-store", credentials: "same-origin", redirect: "manual", signal };
            answer = await fetch(location.href, how);
            text = await answer.text();
        } catch {
            throw new Error("the site does not answer. Trying again");
        }
        if (answer.type === "opaqueredirect") throw new Error("you are signed out. Load the page again");
        if (!answer.ok) throw new Error(`the site answered ${answer.status}. Trying again`);
        const page = new DOMParser().parseFromString(trusted.createHTML(text), "text/html");
        if (!page.getElementById(bar.id)) throw new Error("you may be signed out. Load the page again");
        const instant = instantOf(page); // no two answers of the site itself are of the same one
        if (seen.has(instant)) throw new Error("the answer is one that a cache has kept. Trying again");
        seen.add(instant);
        return page;
    };

    const refresh = async () => {
        if (isAsking || isPaused || document.hidden) return;
        isAsking = true;
        clearTimeout(timer);
        const beganAt = Date.now();
        try {
            show(await ask());
            shownAt = beganAt;
            trouble = "";
        } catch (error) {
            trouble = error.message;
        }
        took = Math.min(Date.now() - beganAt, PATIENCE); // the machine may have slept meanwhile
        isAsking = false;
        judge();
        if (!isPaused && !document.hidden) timer = setTimeout(refresh, Math.max(usual, 4 * took));
    };

    const why = () => {
        if (isPaused) return "it is paused";
        if (trouble) return trouble;
        if (isAsking) return "waiting for the site's answer";
        return 4 * took > OLD ? `the site takes ${Math.round(took / 1000)} s to answer` : "it was not refreshed since";
    };

    const judge = () => {
        const isOld = trouble !== "" || Math.abs(Date.now() - shownAt) > OLD; // a clock may be set back, too
        const asOf = document.querySelector("#cutover-as-of time").textContent;
        const said = isOld ? `What is shown is old, as of ${asOf}: ${why()}.` : "";
        bar.parentElement.classList.toggle("is-old", isOld);
        if (note.textContent !== said) note.textContent = said;
    };

    const again = () => {
        clearTimeout(timer);
        refresh();
        judge();
    };

    bar.querySelector(".cutover-still").hidden = true; // it stays where this script is kept from the page, too
    button.hidden = false;
    button.addEventListener("click", () => {
        isPaused = !isPaused;
        button.textContent = isPaused ? "Go on" : "Pause";
        again();
    });
    document.addEventListener("visibilitychange", again);
    setInterval(judge, 1000);
    timer = setTimeout(refresh, usual);
}
