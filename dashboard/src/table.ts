/** What is asked of the table of targets: the same in the page's address, over HTTP and on the socket. */

export interface TableQuery {
  q: string;
  /** `name:value`, or nothing. */
  label: string;
  state: string;
  sort: string;
  /** From one on. */
  page: number;
}

export const STATES = ["down", "degraded", "unknown", "up"] as const;

export const SORTS: Record<string, string> = {
  name: "by name",
  group: "by group",
  state: "worst first",
  failed: "most failed first",
  slow: "slowest first",
  age: "oldest check first",
};

/** The api takes no more; it answers with what it understood, so both sides write it alike. */
const MOST_CHARACTERS = 200;
const MOST_PAGES = 1_000_000;
const cut = (text: string): string => [...text].slice(0, MOST_CHARACTERS).join("");

/** What `read` says of each parameter; what nobody can mean is as if it were not there. */
export function tableQuery(read: (name: string) => string): TableQuery {
  const state = read("state");
  const sort = read("sort");
  const label = cut(read("label").trim());
  return {
    q: cut(read("q").trim()).split(/\s+/).join(" ").trim(),
    label: /^[^:]+:.+$/.test(label) ? label : "",
    state: (STATES as readonly string[]).includes(state) ? state : "",
    sort: Object.hasOwn(SORTS, sort) ? sort : "name",
    page: Math.min(MOST_PAGES, Math.max(1, Math.floor(Number(read("page"))) || 1)),
  };
}

/** Where the api has it; what is left out there stays as it is. */
export function tablePath(query: TableQuery): string {
  const asked = new URLSearchParams();
  for (const name of ["q", "state", "label"] as const) if (query[name] !== "") asked.set(name, query[name]);
  if (query.sort !== "name") asked.set("sort", query.sort);
  if (query.page > 1) asked.set("page", String(query.page));
  const text = asked.toString();
  return `/api/v1/table${text === "" ? "" : `?${text}`}`;
}
