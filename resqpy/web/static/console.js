// Keeps the numbers of the open page current. When the console says that something has changed, the page is read
// again, and its parts that only show something (data-live) are replaced: no button moves under the pointer. Pages
// do all they can do without this file.
"use strict";

(() => {
  const LEAST_MS = 5000; // between two reads of the page
  const SHARED_MS = 2000; // for which the console may show the same to many, unless it has told of new numbers
  const AGAIN_MS = 30000; // until a stream that was refused is asked for again
  const MOST_FAILURES = 3; // in a row, of streams on which nothing was said

  const events = document.currentScript.dataset.events;
  let source = null;
  let failures = 0;
  let readAt = Date.now();
  let reading = false;
  let due = 0; // a read that begins before this time may miss something
  let timer = 0; // of the next read
  let waiting = 0; // for the next stream

  const say = (words) => {
    const place = document.getElementById("live");
    if (place !== null && place.textContent !== words) place.textContent = words;
  };

  const inUse = (part) => {
    const selection = document.getSelection();
    const selected = selection !== null && !selection.isCollapsed && selection.containsNode(part, true);
    return selected || part.contains(document.activeElement);
  };

  const replace = (fresh) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other !== null && !part.isEqualNode(other) && !inUse(part)) {
        part.replaceWith(document.adoptNode(other));
      }
    }
  };

  const here = () => { // the page as it is without what was just done
    const url = new URL(location.href);
    for (const each of ["done", "n", "undo"]) url.searchParams.delete(each);
    return url;
  };

  const read = async () => {
    timer = 0;
    if (reading || document.hidden) return;
    reading = true;
    const began = Date.now();
    try {
      const answer = await fetch(here(), { cache: "no-store" });
      if (answer.redirected) {
        stop();
        say("· signed out");
      } else if (answer.ok) {
        replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
        if (answer.headers.get("refresh") === "1") due = Date.now(); // it shows something old, while that is read again
        say("· live");
      } else {
        say(`· not live: the console answers ${answer.status}`);
      }
    } catch {
      say("· not live: the console can't be reached");
    } finally {
      reading = false;
      readAt = Date.now();
      if (due > began && source !== null) soon();
    }
  };

  const soon = () => {
    if (timer === 0) timer = setTimeout(read, Math.max(0, Math.max(readAt + LEAST_MS, due) - Date.now()));
  };

  const heard = (event) => {
    failures = 0;
    due = Math.max(due, Date.now() + (event.type === "task" ? SHARED_MS : 0));
    say("· live");
    soon();
  };

  const lost = () => {
    failures += 1;
    say("· not live: the connection was lost");
    const refused = source.readyState === EventSource.CLOSED;
    if (!refused && failures < MOST_FAILURES) return; // the browser connects again
    stop();
    waiting = setTimeout(start, AGAIN_MS);
  };

  const stop = () => {
    clearTimeout(timer);
    clearTimeout(waiting);
    timer = waiting = 0;
    if (source !== null) source.close();
    source = null;
  };

  // On a phone the bar of pages is wider than the screen.
  document.querySelector("nav.pages [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // Only where a page has numbers: a browser opens six connections to a host, and streams of hidden tabs would take them all.
  const start = () => {
    if (source !== null || document.hidden || document.querySelector("main [data-live]") === null) return;
    source = new EventSource(events);
    for (const kind of ["counts", "task", "resync"]) source.addEventListener(kind, heard);
    source.addEventListener("error", lost);
  };

  document.addEventListener("visibilitychange", () => {
    stop();
    if (document.hidden) return;
    start();
    soon();
  });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", start);
})();
