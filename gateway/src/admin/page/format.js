// Times, durations, sizes and counts as text.

const NUMBER = new Intl.NumberFormat("en");

/** Returns a count with separators. */
export const count = (value) => NUMBER.format(value);

/** Returns a count and its noun: "1 delivery", "2 deliveries". */
export function counted(value, one, many) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

const pad = (value, width = 2) => String(value).padStart(width, "0");

/** Returns the local time of day with milliseconds, with the date if it is another day. */
export function clock(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return String(text);
  const of = `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}`;
  const exact = `${of}.${pad(time.getMilliseconds(), 3)}`;
  return sameDay(time, new Date()) ? exact : `${day(time)} ${exact}`;
}

const sameDay = (a, b) => a.toDateString() === b.toDateString();
const day = (time) => `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;

/** Returns the local date and time with the offset from UTC. */
export function dateTime(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return String(text);
  const offset = -time.getTimezoneOffset();
  const sign = offset < 0 ? "−" : "+";
  const zone = offset === 0 ? "UTC"
    : `UTC${sign}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
  const of = `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}`;
  return `${day(time)} ${of} ${zone}`;
}

/** Returns how long ago a time was, or how far in the future it is. */
export function relative(text, now = Date.now()) {
  const seconds = Math.round((now - new Date(text).getTime()) / 1000);
  if (Number.isNaN(seconds)) return "";
  const span = period(Math.abs(seconds));
  if (seconds < -1) return `in ${span}`;
  return seconds <= 1 ? "now" : `${span} ago`;
}

/** Returns a number of seconds in its largest unit. */
export function period(seconds) {
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= size) return counted(Math.floor(seconds / size), unit, `${unit}s`);
  }
  return counted(Math.round(seconds), "second", "seconds");
}

/** Returns a duration, given in microseconds. */
export function micros(value) {
  if (value === undefined || value === null) return "";
  if (value < 1000) return `${Math.round(value)} µs`;
  if (value < 1e6) return `${(value / 1000).toFixed(value < 1e4 ? 2 : value < 1e5 ? 1 : 0)} ms`;
  return `${(value / 1e6).toFixed(2)} s`;
}

/** Returns a number of bytes. */
export function bytes(value) {
  if (value === undefined || value === null) return "";
  if (value < 1024) return counted(value, "byte", "bytes");
  if (value < 1024 ** 2) return `${(value / 1024).toFixed(1)} KiB`;
  if (value < 1024 ** 3) return `${(value / 1024 ** 2).toFixed(1)} MiB`;
  return `${(value / 1024 ** 3).toFixed(2)} GiB`;
}

/** Returns a message of the gateway as a sentence, with a capital letter and a full stop. */
export function sentence(text) {
  const whole = String(text).trim();
  if (whole === "") return "";
  return whole[0].toUpperCase() + whole.slice(1) + (/[.!?:…]$/.test(whole) ? "" : ".");
}

/** Returns an outcome in words. */
export const outcomeText = (outcome) => String(outcome).replace(/_/g, " ");
