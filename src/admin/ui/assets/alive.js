// Whether what stands on a page is of now: of a gateway that does not answer, and of a session that ended, every page tells.
"use strict";

(() => {
  const banner = document.getElementById("stale");
  // When what stands here was answered.
  let good = new Date();
  let gone = false;

  const clock = (at) => {
    const [day, time] = [at.toISOString().slice(0, 10), at.toISOString().slice(11, 19)];
    return `${day === new Date().toISOString().slice(0, 10) ? "" : `${day} `}${time} UTC`;
  };
  const parts = () => [...document.querySelectorAll("[hx-trigger]")];
  const grey = (yes) => { for (const part of document.querySelectorAll("[hx-trigger], [data-series]")) part.classList.toggle("stale", yes); };
  const here = () => location.pathname + location.search;
  const login = () => `/login?to=${encodeURIComponent(here())}`;

  // Said once, however often it is found again: who hears the page is not told each second.
  const say = (text, link) => {
    grey(true);
    if (banner.textContent !== `${text}${link ? ` ${link[0]}` : ""}`) {
      banner.replaceChildren(text);
      if (link) {
        const way = document.createElement("a");
        way.textContent = link[0];
        banner.append(" ", way);
      }
    }
    if (link) banner.querySelector("a").href = link[1];
  };
  const silent = () => { gone = true; say(`No answer from the gateway since ${clock(good)}; what stands here is of then.`); };
  const failing = (status) => say(`The gateway answers with an error (HTTP ${status}) since ${clock(good)}; what stands here is of then.`);
  const strange = () => say(`Since ${clock(good)} something else is answered in place of this page; what stands here is of then.`, ["Load it again", here()]);
  const ended = () => say(`You are not logged in any more; what stands here is of ${clock(good)}.`, ["Log in again", login()]);
  const heard = () => {
    good = new Date();
    gone = false;
    if (banner.firstChild) banner.replaceChildren();
    grey(false);
  };

  document.addEventListener("htmx:sendError", silent);
  document.addEventListener("htmx:timeout", silent);
  document.addEventListener("htmx:responseError", ({ detail }) => (detail.xhr.status === 401 ? ended() : failing(detail.xhr.status)));
  // What is not the page, as the login of a proxy is not, would leave a blank in its place.
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.isError) return;
    if (detail.xhr.responseText.includes(`id="${detail.target.id}"`)) heard();
    else { detail.shouldSwap = false; strange(); }
  });

  // A page that asks for nothing by itself asks whether the gateway is there: at an address that keeps no session alive.
  const knock = async () => {
    if (document.hidden || parts().length) return;
    try {
      await fetch("/livez", { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (gone) heard();
      else if (!banner.firstChild) good = new Date();
    } catch { silent(); }
  };
  setInterval(knock, 10000);
  document.addEventListener("visibilitychange", knock);

  // Of a page that nobody follows, any answer says that all is well again.
  const answered = () => { if (!parts().length) heard(); };
  window.omgate = { alive: { answered, ended, login } };
})();
