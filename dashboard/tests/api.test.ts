import { beforeAll, expect, test, vi } from "vitest";

beforeAll(() => {
  vi.stubGlobal("sessionStorage", { getItem: () => null, setItem: () => undefined });
});

test("a socket brings the token as the name of a subprotocol, beside the one that is spoken", async () => {
  const { protocols } = await import("../src/api");
  expect(protocols(null)).toEqual(["lookout.v1"]);
  expect(protocols("a-token-of-enough-characters")).toEqual([
    "lookout.v1",
    "lookout.bearer.YS10b2tlbi1vZi1lbm91Z2gtY2hhcmFjdGVycw",
  ]);
  for (const given of ["???>>>~~~", "ä token = with / and +", "12345678901234567"]) {
    const [, name = ""] = protocols(given);
    expect(name).toMatch(/^lookout\.bearer\.[A-Za-z0-9_-]+$/);
    const back = Buffer.from(name.slice("lookout.bearer.".length), "base64url").toString();
    expect(back).toBe(given);
  }
});
