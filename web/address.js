// What is shown, in the page's address: a link shows it again (never the video itself). In: names and values. Out: the
// fragment, such as #clip=lift_pear.mp4&stage=stage3&estimator=soft&frame=3.

const DELAY = 200; // ms: browsers refuse addresses that change too often

let timer = 0;

// Everything that the link says, as text.
export const linked = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

// Writes what is not empty: at once, or soon.
export function remember(state, now = false) {
  clearTimeout(timer);
  const said = Object.entries(state).filter(([, value]) => value !== '');
  const fragment = said.length ? `#${new URLSearchParams(said)}` : '';
  const write = () => {
    if (fragment !== location.hash) history.replaceState(null, '', location.pathname + location.search + fragment);
  };
  if (now) write();
  else timer = setTimeout(write, DELAY);
}

// Which of the site's models is looked through, as ?model=PATH.
export function rememberModel(path) {
  const query = new URLSearchParams(location.search);
  query.set('model', path);
  history.replaceState(null, '', `${location.pathname}?${query.toString().replaceAll('%2F', '/')}${location.hash}`);
}

// A number of the link, if it is one and lies within.
export function within(text, low, high) {
  const value = Number(text);
  return text !== undefined && text !== '' && value >= low && value <= high ? value : null;
}
