/** What was rolled out. */

import { createMemo, For, Show, type JSX } from "solid-js";
import { cursorPath, Older, Table } from "../components/lists";
import { Moment, Title, Waiting } from "../components/small";
import type { Change } from "../model";
import { polled } from "../polled";

const HOOK = `curl -X POST "$LOOKOUT/api/v1/changes" -H "authorization: Bearer $API_TOKEN" \\
  -H 'content-type: application/json' -d '{"service": "shop", "commit": "6d0080aa"}'`;

export function Changes(): JSX.Element {
  const asked = polled<{ changes: (Change & { source: string })[]; next: string | null }>(createMemo(() => cursorPath("changes")));
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
            <section class="card" aria-label="What was rolled out">
              <Table label="Changes" columns={["commit", "service", "rolled out", "author", "told by"]}>
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
              </Table>
            </section>
            <Older next={data().next} />
          </Show>
        )}
      </Show>
    </>
  );
}
