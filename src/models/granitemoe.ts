import { readGranite } from "./granite.ts";
import { llamaFamily, llamaLayer, type LlamaConfig } from "./llama.ts";
import { readMixture, stackOptions } from "./mixture.ts";
import { whole, type Part, type TableBuilder } from "./table.ts";

/** IBM Granite 3 with experts: each layer's are published as two stacks, gates before ups within each. */
export const graniteMoe = llamaFamily({
  modelTypes: ["granitemoe"],
  parse(c, modelType) {
    const base = readGranite(c, modelType);
    const m = readMixture(c, base.layers, { experts: "num_local_experts", width: "intermediate_size" });
    // What the experts add is scaled as what attention adds is: by way of their weights.
    return { ...base, mixture: { ...m, scale: base.scales.residual } };
  },
  layer(b, config, i) {
    llamaLayer(b, config, i, undefined, (at) => {
      stackedExperts(b, config, i, `${at}.block_sparse_moe`);
    });
  },
});

function stackedExperts(b: TableBuilder, { hiddenSize, mixture }: LlamaConfig, i: number, at: string): void {
  const { experts: stack, width } = mixture!;
  const half = (e: number, h: number): Part => ({
    tensor: `${at}.input_linear`,
    rows: width,
    firstRow: e * 2 * width + h,
    rowStep: 2,
    fromRow: (2 * e + h) * width,
    tensorRows: stack * 2 * width,
    stack,
  });
  const gateUp = Array.from({ length: stack }, (_, e) => [half(e, 0), half(e, 1)]).flat();
  const down = whole(`${at}.output_linear`, stack * hiddenSize).map((part) => ({ ...part, stack }));
  b.matrix(`${i}.router`, hiddenSize, whole(`${at}.router.layer`, stack), { exact: true });
  b.matrix(`${i}.experts_up`, hiddenSize, gateUp, stackOptions(mixture!, 2 * width));
  b.matrix(`${i}.experts_down`, width, down, stackOptions(mixture!, hiddenSize));
}
