/** What was rolled out. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { Moment, Title, Waiting } from "../components/small";
import type { Change } from "../model";
import { polled } from "../polled";
import { query, refine } from "../router";

const HOOK = `curl -X POST "$LOOKOUT/api/v1/changes" -H "authorization: Bearer $API_TOKEN" \\
  -H 'content-type: application/json' -d '{"service": "shop", "commit": "6d0080aa"}'`;

export function Changes(): JSX.Element {
  const path = createMemo(() => {
    const cursor = query("cursor");
    return `/api/v1/changes?limit=50${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`;
  });
  const asked = polled<{ changes: (Change & { source: string })[]; next: string | null }>(path);
  return (
    <>
      <Title>Changes</Title>
      <Show when={asked.data()} fallback={<Waiting for="changes" problem={asked.problem()} retry={asked.refresh} />}>
        {(data) => (
          <Show
            when={data().changes.length > 0}
            fallback={
              <section class="card empty">
                <p>No change is known yet. Let the end of a deployment tell of it, and incidents will name the commit before them:</p>
                <pre tabindex="0">{HOOK}</pre>
              </section>
            }
          >
            <div class="card scroll" tabindex="0" role="region" aria-label="Changes">
              <table class="targets">
                <thead>
                  <tr>
                    <th scope="col">commit</th>
                    <th scope="col">service</th>
                    <th scope="col">rolled out</th>
                    <th scope="col">author</th>
                    <th scope="col">told by</th>
                  </tr>
                </thead>
                <tbody>
                  <For each={data().changes}>
                    {(change) => (
                      <tr>
                        <th scope="row">
                          <code>{change.commit}</code>
                        </th>
                        <td>{change.service}</td>
                        <td>
                          <Moment at={change.at} />
                        </td>
                        <td>{change.author ?? "–"}</td>
                        <td>{change.source}</td>
                      </tr>
                    )}
                  </For>
                </tbody>
              </table>
            </div>
            <nav class="pages" aria-label="Parts of the list">
              <Show when={query("cursor") !== ""}>
                <button type="button" onClick={() => refine({ cursor: "" })}>
                  Newest
                </button>
              </Show>
              <Show when={data().next}>
                {(next) => (
                  <button type="button" onClick={() => refine({ cursor: next() })}>
                    Older
                  </button>
                )}
              </Show>
            </nav>
          </Show>
        )}
      </Show>
    </>
  );
}
