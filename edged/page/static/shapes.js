// Shapes in a picture, as fractions of its width and height, by the rules of the config. A shape is
// {kind: "mask" or "region", name, box: [left, top, right, bottom]} or has a `polygon` of corners [x, y]; masks have no
// name. Shapes are never changed: each function gives a new one. A `size` is the picture's {width, height} in pixels.

export const LEAST_SIDE = 0.01; // of a region, as in the config
const LEAST_MASK = 1e-6; // of the picture's area, as in the config
const LEAST_DECIMALS = 3;
const MOST_OF_A_NAME = 64;

/** The masks and regions of a camera, as it is in the state. */
export function shapesOf(camera) {
  const masks = camera.mask.map((corners) => ({ kind: "mask", ...boxOrPolygon(corners) }));
  const regions = camera.regions.map(({ name, box, polygon }) => ({
    kind: "region", name, ...(polygon.length ? { polygon } : { box }),
  }));
  return [...masks, ...regions];
}

export function cornersOf(shape) {
  if (shape.polygon) return shape.polygon;
  const [left, top, right, bottom] = shape.box;
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

/** Left, top, right, bottom. */
export function boundsOf(shape) {
  if (shape.box) return shape.box;
  const columns = shape.polygon.map(([x]) => x);
  const rows = shape.polygon.map(([, y]) => y);
  return [Math.min(...columns), Math.min(...rows), Math.max(...columns), Math.max(...rows)];
}

/** Why edged would refuse this shape: a key of the words; null if it would not. */
export function refusalOf(shape) {
  if (cornersOf(shape).flat().some((share) => !(share >= 0 && share <= 1))) return "shapeOutside";
  if (shape.polygon && shape.polygon.length < 3) return "shapeFewCorners";
  const [left, top, right, bottom] = boundsOf(shape);
  if (shape.box && !(left < right && top < bottom)) return "shapeEmpty";
  const isRegion = shape.kind === "region";
  const side = rounded(Math.min(right - left, bottom - top), 9); // 0.11 - 0.1 is less than 0.01
  if (isRegion && side < LEAST_SIDE) return "shapeTooSmall";
  if (shape.polygon && Math.abs(area(shape.polygon)) < (isRegion ? LEAST_SIDE ** 2 : LEAST_MASK)) return "shapeNoArea";
  return null;
}

/** Why edged would refuse this name of a region: a key of the words; null if it would not. */
export function nameRefusalOf(name) {
  if (!/^[a-z0-9_-]+$/.test(name)) return "nameCharacters";
  return name.length > MOST_OF_A_NAME ? "nameLong" : null;
}

/** True if two sides cross, so that a part that they enclose in opposite directions is a hole. */
export function crossesItself(shape) {
  const corners = cornersOf(shape);
  const sides = corners.map((corner, index) => [corner, corners[(index + 1) % corners.length]]);
  return sides.some((side, index) => sides.slice(index + 1).some((other) => cross(side, other)));
}

/** True if the point is inside; by non-zero winding, as edged fills a mask. */
export function contains(shape, [x, y]) {
  let windings = 0;
  const corners = cornersOf(shape);
  corners.forEach(([x1, y1], index) => {
    const [x2, y2] = corners[(index + 1) % corners.length];
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) * (x2 - x1)) / (y2 - y1)) windings += y1 > y ? 1 : -1;
  });
  return windings !== 0;
}

/** The point on the nearest border between pixels, with as many decimals as it takes to find this pixel again. */
export function snapped([x, y], size) {
  return [onGrid(x, size.width), onGrid(y, size.height)];
}

/** A box with these two points as opposite corners. */
export function boxBetween([x1, y1], [x2, y2]) {
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

/** The shape moved by so many pixels, but not out of the picture. */
export function moved(shape, [columns, rows], size) {
  const [left, top, right, bottom] = boundsOf(shape);
  const x = limited(columns / size.width, -left, 1 - right);
  const y = limited(rows / size.height, -top, 1 - bottom);
  const corners = cornersOf(shape).map((corner) => snapped([corner[0] + x, corner[1] + y], size));
  return shape.polygon ? { ...shape, polygon: corners } : { ...shape, box: [...corners[0], ...corners[2]] };
}

/** The shape with one corner elsewhere. Corners of a box keep one pixel of distance. */
export function withCorner(shape, index, point, size) {
  const [x, y] = snapped(point, size);
  if (shape.polygon) return { ...shape, polygon: shape.polygon.map((corner, at) => (at === index ? [x, y] : corner)) };
  const [left, top, right, bottom] = shape.box;
  const isLeft = index === 0 || index === 3;
  const isTop = index < 2;
  const column = onGrid(isLeft ? Math.min(x, right - 1 / size.width) : Math.max(x, left + 1 / size.width), size.width);
  const row = onGrid(isTop ? Math.min(y, bottom - 1 / size.height) : Math.max(y, top + 1 / size.height), size.height);
  return { ...shape, box: [isLeft ? column : left, isTop ? row : top, isLeft ? right : column, isTop ? bottom : row] };
}

/** The polygon with one corner more, in the middle of the side that begins at this corner. */
export function withCornerAfter(shape, index, size) {
  const corners = shape.polygon;
  const [[x1, y1], [x2, y2]] = [corners[index], corners[(index + 1) % corners.length]];
  const middle = snapped([(x1 + x2) / 2, (y1 + y2) / 2], size);
  return { ...shape, polygon: [...corners.slice(0, index + 1), middle, ...corners.slice(index + 1)] };
}

export function withoutCorner(shape, index) {
  return { ...shape, polygon: shape.polygon.filter((_, at) => at !== index) };
}

/** Corners [x, y] in whole pixels. */
export function inPixels([x, y], size) {
  return [Math.round(x * size.width), Math.round(y * size.height)];
}

/** A mask that was written as a box is one again. */
function boxOrPolygon(corners) {
  const [[left, top], , [right, bottom] = []] = corners;
  const box = { box: [left, top, right, bottom] };
  const isBox = corners.length === 4 && left < right && top < bottom && String(cornersOf(box)) === String(corners);
  return isBox ? box : { polygon: corners };
}

function area(corners) {
  return corners.reduce((sum, [x1, y1], index) => {
    const [x2, y2] = corners[(index + 1) % corners.length];
    return sum + x1 * y2 - x2 * y1;
  }, 0) / 2;
}

function cross([a, b], [c, d]) {
  return turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0;
}

function turn([x1, y1], [x2, y2], [x3, y3]) {
  return (x2 - x1) * (y3 - y1) - (y2 - y1) * (x3 - x1);
}

function onGrid(share, pixels) {
  const decimals = Math.max(LEAST_DECIMALS, Math.ceil(Math.log10(pixels)));
  return rounded(Math.round(limited(share, 0, 1) * pixels) / pixels, decimals);
}

function rounded(number, decimals) {
  return Number(number.toFixed(decimals));
}

function limited(number, least, most) {
  return Math.max(least, Math.min(most, number));
}
