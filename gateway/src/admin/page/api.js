// Calls of the gateway's API, and the token that they carry. The token stays in the session storage
// of this tab. It is sent in the header `Authorization` alone.

import { sentence } from "./format.js";

const TOKEN = "hookgate.token";

/** A call that failed. `status` is 0 if no response arrived. */
export class Failure extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  clear: () => sessionStorage.removeItem(TOKEN),
};

let signedOut = () => {};

/** Registers the function that runs when the gateway refuses the token. */
export function onSignedOut(listener) {
  signedOut = listener;
}

const NO_RESPONSE =
  "The gateway does not respond. Check that it runs, and that the tunnel or port-forward is open.";

/** Sends a request and returns the response. Throws a [`Failure`] for every other outcome. */
export async function request(path, { method = "GET", query = {}, body, signal, accept } = {}) {
  const url = new URL(`api/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  const headers = { accept: accept ?? "application/json", authorization: `Bearer ${token.get()}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(0, NO_RESPONSE);
  }
  if (response.ok) return response;
  const failure = await failureOf(response);
  if (failure.status === 401) signedOut(failure);
  throw failure;
}

async function failureOf(response) {
  const retryAfter = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  let message = "";
  try {
    const problem = await response.json();
    message = sentence(problem.detail || problem.title || "");
  } catch {
    // A proxy in between may answer with another type. The status alone describes it.
  }
  if (!message) message = `The gateway responded with the status ${response.status}.`;
  return new Failure(response.status, message, Number.isNaN(retryAfter) ? null : retryAfter);
}

/** Returns the JSON of a resource. */
export async function getJson(path, query, signal) {
  const response = await request(path, { query, signal });
  return read(response.json(), signal);
}

/** Posts JSON, an empty object by default, and returns the JSON of the response. */
export async function postJson(path, body = {}) {
  const response = await request(path, { method: "POST", body });
  return read(response.json());
}

/** Deletes a resource, and returns the JSON of the response. */
export async function remove(path) {
  const response = await request(path, { method: "DELETE" });
  return read(response.json());
}

/** Returns the bytes of a resource. */
export async function getBlob(path) {
  const response = await request(path, { accept: "application/octet-stream" });
  return read(response.blob());
}

async function read(content, signal) {
  try {
    return await content;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(0, "The response of the gateway broke off. Try again.");
  }
}

/** Returns the path of one delivery in the API. */
export const deliveryPath = (id, rest = "") => `deliveries/${encodeURIComponent(id)}${rest}`;
