// The hub's REST API for its own pages.
import { t } from "./ui.js";

const data = window.jhdata;

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Send a request below hub/api/; gives the parsed JSON, or null for an empty answer. Throws ApiError. */
export async function api(method, path, body) {
  const url = new URL(`${data.base_url}api/${path}`, window.location.href);
  url.searchParams.set("_xsrf", data.xsrf_token);
  const headers = { Accept: "application/jupyterhub-pagination+json, application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ApiError(0, t("The hub does not answer. Check your connection and try again."));
  }
  const text = await response.text();
  let answer = null;
  try { answer = text ? JSON.parse(text) : null; } catch { /* not JSON: an error page of a proxy */ }
  if (!response.ok) {
    throw new ApiError(response.status, (answer && answer.message) || `${response.status} ${response.statusText}`);
  }
  return answer;
}

export const escapeName = (name) => encodeURIComponent(name).replaceAll("%40", "@").replaceAll("%7E", "~");

/** The API path of one of a user's servers; "" is the default server. */
export function serverPath(user, server) {
  const base = `users/${escapeName(user)}`;
  return server ? `${base}/servers/${escapeName(server)}` : `${base}/server`;
}

export { show } from "./ui.js";
