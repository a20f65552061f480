// Keeps a page fresh: asks for news and puts texts where they belong. Nothing is ever parsed as
// markup. The pages work without this.
'use strict';
(() => {
  const url = document.body.dataset.live;
  if (!url) return;
  const put = (element, text) => {
    element.hidden = text === null;
    if (text !== null && element.textContent !== text) element.textContent = text;
  };
  const redraw = (image, stamp) => {
    if (stamp === null || image.dataset.stamp === stamp) return;
    image.dataset.stamp = stamp;
    image.src = image.dataset.src + '&at=' + encodeURIComponent(stamp);
  };
  const ask = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(url, { headers: { accept: 'application/json' } });
      if (answer.status === 401) { location.replace('/sign-in?ended=1'); return; }
      if (!answer.ok) return;
      const news = await answer.json();
      for (const element of document.querySelectorAll('[data-text]')) {
        const text = news[element.dataset.text];
        if (text !== undefined) put(element, text);
      }
      for (const image of document.querySelectorAll('[data-image]')) {
        const stamp = news[image.dataset.image];
        if (stamp !== undefined) redraw(image, stamp);
      }
      for (const part of document.querySelectorAll('[data-with]')) {
        const text = news[part.dataset.with];
        if (text !== undefined) part.hidden = text === null;
      }
    } catch { /* The network is away; the next turn will tell. */ }
  };
  setInterval(ask, 5000);
  document.addEventListener('visibilitychange', ask);
})();
