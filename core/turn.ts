/** The end of this turn of the event loop: when everything that has arrived was looked at, and before anything is waited for. */

let waiting: (() => void)[] = [];

/**
 * Costs a caller who is alone next to nothing, and those who come together do together what is dear to do alone. What is
 * asked for at the end of a turn is still done in it.
 */
export function atTurnEnd(act: () => void): void {
  if (waiting.push(act) === 1) setImmediate(endTurn);
}

function endTurn(): void {
  try {
    for (let at = 0; at < waiting.length; at++) waiting[at]!();
  } finally {
    waiting = [];
  }
}
