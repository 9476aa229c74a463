// What stays up to date by itself: polled data, and times that are told from now.

/**
 * Runs `work` now and every `every` ms (0: once) while the page can be seen, until `signal`. Errors go to `failed`.
 * Gives a function that runs it at once, also after an error that would come again and again.
 */
export function live(signal, every, work, failed = () => {}) {
  let timer = 0;
  let running = false;
  let again = false;
  let over = false;

  async function turn() {
    clearTimeout(timer);
    again = running;
    if (running || over || signal.aborted || document.hidden) return;
    running = true;
    try {
      await work();
      connection.set(true);
      over = every === 0;
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      connection.set(error.status !== 0);
      failed(error);
      // What isn't allowed, isn't there or isn't right stays so; anything else may pass.
      over = !(error.status === 0 || error.status === 429 || error.status >= 500);
    } finally {
      running = false;
    }
    if (again) refresh();
    else if (!over) timer = setTimeout(turn, every || 3000);
  }

  function refresh() {
    over = false;
    turn();
  }

  document.addEventListener("visibilitychange", turn, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
  return refresh;
}

/** A listener that waits until nobody types any more, then calls `work` with the text. */
export function typed(work) {
  let timer = 0;
  return ({ target }) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(target.value.trim()), 300);
  };
}

/** Tells whoever listens whether the server answers. */
export const connection = {
  up: true,
  listen: () => {},
  set(up) {
    if (up !== this.up) this.listen((this.up = up));
  },
};

const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "narrow" });
const units = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 7],
];

/** "12s ago", "in 8 min". */
export function fromNow(iso, now = Date.now()) {
  let amount = (Date.parse(iso) - now) / 1000;
  if (Math.abs(amount) < 2) return "now";
  for (const [unit, size] of units) {
    if (Math.abs(amount) < size) return relative.format(Math.trunc(amount), unit);
    amount /= size;
  }
  const then = new Date(iso);
  const year = then.getFullYear() === new Date(now).getFullYear() ? undefined : "numeric";
  return then.toLocaleDateString("en", { day: "numeric", month: "short", year });
}

setInterval(() => {
  for (const time of document.querySelectorAll("time[data-from-now]")) {
    const text = fromNow(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}, 1000);
