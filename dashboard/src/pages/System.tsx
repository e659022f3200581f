/** How lookout itself does. */

import { For, Show, type JSX } from "solid-js";
import { Age, Figure, Moment, Offline, State, Title, Waiting } from "../components/small";
import { count, milliseconds } from "../format";
import type { System as Data } from "../model";
import { offlineOf } from "../offline";
import { polled } from "../polled";
import { refused } from "../refused";

const STATES = { running: "up", stopped: "unknown", gone: "down" };

export function System(): JSX.Element {
  const asked = polled<Data>(() => "/api/v1/system", 5_000);
  return (
    <>
      <Title>System</Title>
      <Show when={asked.data()} fallback={<Waiting for="the system" problem={asked.problem()} retry={asked.refresh} />}>
        {(data) => (
          <>
            <Show when={asked.problem()}>{(problem) => <Waiting for="the system" problem={problem()} />}</Show>
            <Offline of={offlineOf(data().workers)} />
            <section class="card" aria-label="Figures">
              <dl class="figures">
                <Figure name="version" value={data().version} />
                <Figure name="schema" value={`${data().schema.version} of ${data().schema.expected}`} warn={data().schema.version < data().schema.expected} />
                <Figure name="targets" value={data().targets} />
                <Figure name="checks per second" value={data().checks_per_second.toFixed(1)} />
                <Figure name="shards held" value={`${data().shards_held} of 256`} warn={data().shards_held < 256} />
                <Figure name="shards taken" value={data().lease_epochs} hint="How often a worker took a shard, ever, the first time too" />
              </dl>
              <p>
                Newest check: <Age at={data().newest_check} /> ago. Rolled up until{" "}
                <Show when={data().rolled_up_until} fallback="the first hour is over">
                  {(at) => <Moment at={at()} ago={false} />}
                </Show>
                .
              </p>
              <Show when={data().lists_differ}>
                <p class="note error">Running workers have different lists of targets. They delete nothing of each other's.</p>
              </Show>
              <For each={refused(data().workers)}>
                {(one) => (
                  <div class="note error" role="group" aria-label="Configuration not in use">
                    <p>
                      A newer configuration is not in use, and the last good one is, by {one.workers.join(", ")}:
                    </p>
                    <pre class="wrapped">{one.problems}</pre>
                  </div>
                )}
              </For>
            </section>
            <section class="card" aria-label="Workers">
              <div class="scroll" tabindex="0" role="region" aria-label="Workers">
                <table class="numbers">
                  <caption>Workers that reported in the last ten minutes</caption>
                  <thead>
                    <tr>
                      <th scope="col">worker</th>
                      <th scope="col">state</th>
                      <th scope="col">network</th>
                      <th scope="col">version</th>
                      <th scope="col">shards</th>
                      <th scope="col">lag</th>
                      <th scope="col">missed</th>
                      <th scope="col">unknown</th>
                      <th scope="col">under way</th>
                      <th scope="col">in memory</th>
                      <th scope="col">on disk</th>
                      <th scope="col">seen</th>
                    </tr>
                  </thead>
                  <tbody>
                    <For each={data().workers} fallback={<tr><td colspan="12">No worker reported: nothing is checked now.</td></tr>}>
                      {(worker) => (
                        <tr>
                          <th scope="row">{worker.id}</th>
                          <td>
                            <State is={STATES[worker.state]} words={worker.state} />
                          </td>
                          <td classList={{ bad: worker.own_network === "gone" }}>{worker.own_network}</td>
                          <td>{worker.version}</td>
                          <td>{count(worker.shards)}</td>
                          <td>{milliseconds(worker.lag_ms)}</td>
                          <td classList={{ bad: worker.missed > 0 }}>{count(worker.missed)}</td>
                          <td classList={{ bad: worker.unknown > 0 }}>{count(worker.unknown)}</td>
                          <td>{count(worker.in_flight)}</td>
                          <td>{count(worker.queue_depth)}</td>
                          <td classList={{ bad: !worker.spool_usable }}>{worker.spool_usable ? count(worker.spool_depth) : `${count(worker.spool_depth)}, unusable`}</td>
                          <td>
                            <Age at={worker.seen_at} />
                          </td>
                        </tr>
                      )}
                    </For>
                  </tbody>
                </table>
              </div>
            </section>
            <section class="card" aria-label="Readers">
              <div class="scroll" tabindex="0" role="region" aria-label="Readers">
                <table class="numbers">
                  <caption>Who follows what is stored; roll-ups read it once a minute</caption>
                  <thead>
                    <tr>
                      <th scope="col">reader</th>
                      <th scope="col">batches behind</th>
                      <th scope="col">by</th>
                    </tr>
                  </thead>
                  <tbody>
                    <For each={data().readers}>
                      {(reader) => (
                        <tr>
                          <th scope="row">{reader.name}</th>
                          <td>{count(reader.batches_behind)}</td>
                          <td>{reader.lag_seconds.toFixed(1)} s</td>
                        </tr>
                      )}
                    </For>
                  </tbody>
                </table>
              </div>
            </section>
          </>
        )}
      </Show>
    </>
  );
}
