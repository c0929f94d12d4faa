"""The scripts of the page of relations: without them every section shows, and links lead to them."""

EARLY = "document.documentElement.classList.add('js');"

LATE = r"""
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const panel = document.querySelector('.panel'), filter = document.querySelector('#filter');
  const count = document.querySelector('#count'), items = all('.index li');
  let origin = null;

  const beside = () => getComputedStyle(panel).position === 'sticky';

  function show(moved) {
    const id = decodeURIComponent(location.hash.slice(1));
    if (id === 'map' && moved) return;  // the way back to the map leaves the section as it is
    const found = all('.entry').find((each) => each.id === id) || document.querySelector('#about');
    all('.entry').forEach((each) => each.classList.toggle('shown', each === found));
    all('[data-id], [data-family]').forEach((each) => {
      const chosen = each.getAttribute('href') === '#' + found.id;
      each.classList.toggle('chosen', chosen);
      if (chosen) each.setAttribute('aria-current', 'true'); else each.removeAttribute('aria-current');
    });
    document.title = found.dataset.title + ' · unigen';
    panel.scrollTop = 0;
    if (!moved) return;
    found.focus({preventScroll: true});
    if (!beside()) panel.scrollIntoView();
  }

  function sift() {
    const terms = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (item) => terms.every((term) =>
      /^\d{1,3}$/.test(term) ? item.dataset.id === term : item.dataset.text.includes(term));
    const kept = new Set(), families = new Set();
    items.forEach((item) => {
      item.hidden = !fits(item);
      if (item.hidden) return;
      kept.add(item.dataset.id);
      item.dataset.families.split(' ').forEach((family) => families.add(family));
    });
    all('.map [data-id]').forEach((each) => each.classList.toggle('dim', !kept.has(each.dataset.id)));
    all('.map [data-family]').forEach((each) => each.classList.toggle('dim', !families.has(each.dataset.family)));
    count.textContent = kept.size + ' of ' + items.length;
  }

  async function copy(button) {
    const text = button.parentElement.querySelector('code').textContent;
    let done = true;
    try { await navigator.clipboard.writeText(text); }
    catch {
      const area = document.createElement('textarea');
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand('copy');
      area.remove();
      button.focus();
    }
    button.textContent = done ? 'copied' : 'select and copy';
    setTimeout(() => { button.textContent = 'copy'; }, 2000);
  }

  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="#"]'), button = event.target.closest('.copy');
    if (button) copy(button);
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || link.getAttribute('href') === '#map') return;
    if (!panel.contains(link)) origin = link;
    event.preventDefault();  // as a jump of the browser's own would move the map out of sight
    const href = link.getAttribute('href');
    if (decodeURIComponent(location.hash) !== href) history.pushState(null, '', href);
    show(true);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.target === filter || !origin) return;
    origin.focus();
  });
  document.querySelector('.index form').addEventListener('submit', (event) => event.preventDefault());
  filter.addEventListener('input', sift);
  const settle = (top) => requestAnimationFrame(() => requestAnimationFrame(() => {
    if (beside()) { scrollTo(0, top); panel.scrollTop = 0; }
  }));
  addEventListener('hashchange', () => { const top = scrollY; show(true); settle(top); });
  addEventListener('load', () => settle(0));
  show(location.hash.length > 1);
  sift();
})();
"""
