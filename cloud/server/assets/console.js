// Keeps a page fresh: asks for news and puts texts where they belong. Nothing is ever parsed as
// markup. The pages work without this.
'use strict';
(() => {
  const url = document.body.dataset.live;
  if (!url) return;
  const each = (name, news, change) => {
    for (const element of document.querySelectorAll(`[data-${name}]`)) {
      const value = news[element.dataset[name]];
      if (value !== undefined) change(element, value);
    }
  };
  const put = (element, text) => {
    element.hidden = text === null;
    if (text !== null && element.textContent !== text) element.textContent = text;
  };
  const redraw = (image, stamp) => {
    if (stamp === null || image.dataset.stamp === stamp) return;
    image.dataset.stamp = stamp;
    image.src = image.dataset.src + '&at=' + encodeURIComponent(stamp);
  };
  // Soon again while something is on its way, seldom otherwise, never in the background.
  let turn = 0;
  const ask = async () => {
    clearTimeout(turn);
    if (document.hidden) return;
    let pause = 5000;
    try {
      const answer = await fetch(url, { headers: { accept: 'application/json' } });
      if (answer.status === 401) { location.replace('/sign-in?ended=1'); return; }
      if (answer.ok) {
        const news = await answer.json();
        each('text', news, put);
        each('image', news, redraw);
        each('tone', news, (element, tone) => { element.className = `badge ${tone}`; });
        each('with', news, (part, text) => { part.hidden = text === null; });
        each('without', news, (part, text) => { part.hidden = text !== null; });
        if (Object.values(news).includes('wait')) pause = 500;
      }
    } catch { /* The network is away; the next turn will tell. */ }
    clearTimeout(turn);
    turn = setTimeout(ask, pause);
  };
  turn = setTimeout(ask, 300);
  document.addEventListener('visibilitychange', ask);
})();
