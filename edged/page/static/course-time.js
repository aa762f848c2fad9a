// Times of day in the time zone of the config, and where the marks of a time axis are. Pure.

const LANGUAGE = document.documentElement.lang;
const DAY_S = 86_400;
const STEPS_S = [300, 600, 900, 1_800, 3_600, 10_800, 21_600, 43_200, DAY_S, 2 * DAY_S, 3 * DAY_S, 7 * DAY_S];
const PARTS = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };

/** A time zone by its name. One that the browser does not know is replaced by its own. */
export class Zone {
  #formats = new Map();
  #parts;

  constructor(name) {
    this.name = isKnown(name) ? name : Intl.DateTimeFormat().resolvedOptions().timeZone;
    this.#parts = new Intl.DateTimeFormat("en-US", { ...PARTS, timeZone: this.name, hourCycle: "h23" });
  }

  /** "14:03"; in a period of an hour or less with seconds, in one of more than a day with the day of the week. */
  moment(stamp, period) {
    const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    if (period <= 3_600) return this.#format(stamp, { ...clock, second: "2-digit" });
    return period <= DAY_S ? this.#format(stamp, clock) : this.#format(stamp, { ...clock, weekday: "short", day: "numeric" });
  }

  /** With its date. */
  date(stamp) {
    return this.#format(stamp, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  }

  /** The marks between two stamps, `{stamp, label}`, at round times; about `most` of them. */
  marks(since, now, most) {
    const step = STEPS_S.find((each) => (now - since) / each <= most) ?? STEPS_S.at(-1);
    const shape = step < DAY_S ? { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } : { weekday: "short", day: "numeric" };
    const marks = [];
    let local = Math.ceil((since + this.#offset(since)) / step) * step;
    for (let stamp = this.#stamp(local); stamp <= now; local += step, stamp = this.#stamp(local)) {
      marks.push({ stamp, label: this.#format(stamp, shape) });
    }
    return marks;
  }

  #stamp(local) {
    const near = local - this.#offset(local);
    return local - this.#offset(near); // again, because daylight saving time may begin or end in between
  }

  /** Seconds by which this zone is ahead of UTC. */
  #offset(stamp) {
    const of = Object.fromEntries(this.#parts.formatToParts(stamp * 1000).map(({ type, value }) => [type, Number(value)]));
    return Date.UTC(of.year, of.month - 1, of.day, of.hour, of.minute, of.second) / 1000 - Math.floor(stamp);
  }

  #format(stamp, shape) {
    const key = JSON.stringify(shape);
    if (!this.#formats.has(key)) this.#formats.set(key, new Intl.DateTimeFormat(LANGUAGE, { ...shape, timeZone: this.name }));
    return this.#formats.get(key).format(stamp * 1000);
  }
}

function isKnown(name) {
  try {
    return Boolean(Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}
