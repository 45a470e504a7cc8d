/** Every family with experts or latent attention equal to Hugging Face transformers, as families.node.gpu.test.ts has the others. */
import { SPARSE_ROWS } from "./families.ts";
import { familyTests } from "./family-tests.ts";

familyTests(Object.values(SPARSE_ROWS));
