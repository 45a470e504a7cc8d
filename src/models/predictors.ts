import type { ModelConfig } from "./family.ts";
import { TableBuilder, whole } from "./table.ts";

/** What the modules of multi-token prediction need of a config. */
interface Predicting extends ModelConfig {
  readonly predictors: number;
}

/**
 * The modules of multi-token prediction (DeepSeek-V3, 2024, §2.2), published as layers behind the last: from a position's
 * hidden state h behind the model's last norm and the next token's embedding e, a module makes what predicts the token after,
 *
 *   h' = norm(layer(eh_proj · [enorm(e) | hnorm(h)])),  logits = head · h'
 *
 * the layer being at the next token's position, with the model's own embedding and head, of which the files have copies that are not read. The weights are resident under
 * the roles "predictor <k> …" and those of layer `layers + k`; no forward draws them yet. Files may leave all of them out.
 */
export function addPredictors(
  b: TableBuilder,
  { layers, hiddenSize, predictors }: Predicting,
  layer: (own: TableBuilder, i: number, at: string) => void,
): void {
  const own = new TableBuilder();
  for (let k = 0; k < predictors; k++) {
    const at = `model.layers.${layers + k}`;
    own.norm(`predictor ${k} embed_norm`, hiddenSize, `${at}.enorm`);
    own.norm(`predictor ${k} hidden_norm`, hiddenSize, `${at}.hnorm`);
    own.matrix(`predictor ${k} join`, 2 * hiddenSize, whole(`${at}.eh_proj`, hiddenSize));
    layer(own, layers + k, at);
    own.norm(`predictor ${k} norm`, hiddenSize, `${at}.shared_head.norm`);
  }
  for (const [role, spec] of own.table) {
    b.table.set(role, spec.kind === "vector" ? { ...spec, optional: true } : { ...spec, optional: true, active: 0 });
  }
}
