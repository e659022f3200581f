/** Small things that every page uses. */

import { createMemo, createSignal, Show, type JSX, type ParentProps } from "solid-js";
import { clock, count, duration, MARKS, share, short, utc } from "../format";
import type { Problem } from "../live";
import type { Failed } from "../model";
import type { OwnNetwork } from "../offline";
import { now } from "../state";

/** A state as a shape and a word; its colour only repeats them. */
export const State = (props: { is: string; words?: string }): JSX.Element => (
  <span class={`state ${props.is}`}>
    <span aria-hidden="true">{MARKS[props.is]}</span> {props.words ?? props.is}
  </span>
);

/** A moment in local time, in UTC on hover, and how long ago it was. */
export function Moment(props: { at: string; ago?: boolean }): JSX.Element {
  const at = (): Date => new Date(props.at);
  return (
    <time datetime={props.at} title={utc(at())}>
      {clock(at(), new Date(now()))}
      <Show when={props.ago !== false}> ({duration((now() - at().getTime()) / 1000)} ago)</Show>
    </time>
  );
}

export const Age = (props: { at: string | null }): JSX.Element => (
  <Show when={props.at} fallback="never">
    {(at) => (
      <time datetime={at()} title={utc(new Date(at()))}>
        {duration((now() - Date.parse(at())) / 1000)}
      </time>
    )}
  </Show>
);

/** A failed share; bold when there is one. */
export const Share = (props: { of: Failed }): JSX.Element => (
  <span classList={{ bad: props.of.bad > 0, dim: props.of.total === 0 }}>
    {props.of.total === 0 ? "–" : share(props.of.bad, props.of.total)}
  </span>
);

/** What is below the first screen is made after that is on it, so that no task is long. */
export function Later(props: ParentProps): JSX.Element {
  const [isDue, setDue] = createSignal(false);
  requestAnimationFrame(() => setTimeout(() => setDue(true)));
  return <Show when={isDue()}>{props.children}</Show>;
}

export const Title = (props: ParentProps): JSX.Element => <h1 tabindex={-1}>{props.children}</h1>;

/** While there is no answer, and when there is none to be had. */
export function Waiting(props: { for: string; problem: Problem | null; retry?: () => void }): JSX.Element {
  return (
    <Show when={props.problem} fallback={<p class="note loading">Loading {props.for} …</p>}>
      {(problem) => (
        <div class="note error" role="alert">
          <p>
            <strong>{problem().title}.</strong> {problem().message}
          </p>
          <Show when={problem().status === 503 || problem().status === 0}>
            <p>Is lookout running, and its Postgres? The page tries again by itself.</p>
          </Show>
          <Show when={props.retry}>
            {(retry) => (
              <button type="button" onClick={() => retry()()}>
                Try again
              </button>
            )}
          </Show>
        </div>
      )}
    </Show>
  );
}

/** Why much may be unknown: the network that is gone is ours. */
export const Offline = (props: { of: OwnNetwork | null }): JSX.Element => (
  <Show when={props.of}>
    {(gone) => (
      <p class="note error" role="status">
        {gone().words} What fails meanwhile is unknown, not down. Since <Moment at={gone().since} />.
      </p>
    )}
  </Show>
);

export const Figure = (props: { name: string; value: number | string; warn?: boolean; hint?: string }): JSX.Element => (
  <div class="figure" classList={{ warn: props.warn === true }} title={props.hint}>
    <dt>{props.name}</dt>
    <dd>{typeof props.value === "number" ? count(props.value) : props.value}</dd>
  </div>
);

/** Of a name that finds no room the middle is left out: URLs of one host differ at their end. */
export function Name(props: { of: string }): JSX.Element {
  const ends = createMemo(() => {
    const letters = [...short(props.of)];
    const cut = letters.length > 30 ? letters.length - 14 : letters.length;
    return [letters.slice(0, cut).join(""), letters.slice(cut).join("")];
  });
  return (
    <>
      <span class="begin">{ends()[0]}</span>
      {ends()[1]}
    </>
  );
}
