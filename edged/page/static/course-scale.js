// Where a number lies on an axis, and which numbers are written beside it. Pure.

/** `{low, high, marks}` of an axis for these numbers, with about three marks. Null without numbers. */
export function axis(numbers, isWhole) {
  if (!numbers.length) return null;
  let low = numbers.reduce((least, each) => Math.min(least, each));
  let high = numbers.reduce((most, each) => Math.max(most, each));
  if (isWhole && low > 0 && low <= 10) low = 0; // counts are seen best from zero
  if (low === high) [low, high] = [low - 1, high + 1];
  const step = roundStep((high - low) / 3, isWhole);
  low = Math.floor(low / step) * step;
  high = Math.ceil(high / step) * step;
  const count = Math.round((high - low) / step);
  return { low, high, marks: Array.from({ length: count + 1 }, (_, number) => Number((low + number * step).toPrecision(12))) };
}

/** 1, 2 or 5 times a power of ten, at least this. */
function roundStep(least, isWhole) {
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least * 0.999);
  return isWhole ? Math.max(1, step) : step;
}
