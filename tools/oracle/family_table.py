"""The rows of families.py: a family or a variant of it, with its config as the authors publish it."""

from collections.abc import Callable
from dataclasses import dataclass, field

Weights = dict


def same(weights: Weights) -> Weights:
    return weights


@dataclass
class Row:
    name: str
    config: dict
    dtype: str = "bfloat16"
    # transformers' own config where the published model_type is not one of transformers'
    model: dict | None = None
    # transformers' tensors to the published names and layout
    rename: Callable[[Weights], Weights] = same
    # changes the model before it is filled, where transformers has none that is the published one
    patch: Callable | None = None
    # modules of multi-token prediction behind the last layer
    predictors: int = 0
    # the longest request: fixes the rotary regime
    context: int = 128
    prompt: int = 40
    greedy: int = 64
    head_gain: float = 1.0
    embed_gain: float = 1.0
    matrix_gain: float = 1.0


IDS = dict(bos_token_id=0, eos_token_id=None)  # no end, so that all greedy ids are compared
LLAMA = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=160,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    hidden_act="silu",
    tie_word_embeddings=False,
    **IDS,
)


def llama(name: str, dtype: str = "bfloat16", context: int = 128, prompt: int = 40, greedy: int = 64, **fields) -> Row:
    config = {"model_type": "llama", **LLAMA, **fields}
    return Row(f"llama-{name}", config, dtype=dtype, context=context, prompt=prompt, greedy=greedy)


def derived(
    name: str, model_type: str, dtype: str = "bfloat16", gains: dict | None = None, **fields
) -> Row:
    config = {"model_type": model_type, **LLAMA, **fields}
    return Row(name, config, dtype=dtype, **(gains or {}))


def without(config: dict, *names: str) -> dict:
    return {k: v for k, v in config.items() if k not in names}


def stripped(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {n.removeprefix(prefix): w for n, w in weights.items()}


def replaced(*pairs: tuple[str, str]) -> Callable[[Weights], Weights]:
    def rename(weights: Weights) -> Weights:
        out = {}
        for name, w in weights.items():
            for old, new in pairs:
                name = name.replace(old, new)
            out[name] = w
        return out

    return rename


def one_by_one(gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj") -> Callable[[Weights], Weights]:
    """transformers' stacks of a layer's experts to tensors of their own."""

    def rename(weights: Weights) -> Weights:
        out = {}
        for name, w in weights.items():
            if name.endswith("experts.gate_up_proj"):
                base = name.removesuffix("gate_up_proj")
                for e, both in enumerate(w):
                    first, second = both.chunk(2)
                    out[f"{base}{e}.{gate}.weight"] = first.contiguous()
                    out[f"{base}{e}.{up}.weight"] = second.contiguous()
            elif name.endswith("experts.down_proj"):
                base = name.removesuffix("down_proj")
                out |= {f"{base}{e}.{down}.weight": m.contiguous() for e, m in enumerate(w)}
            else:
                out[name] = w
        return out

    return rename


def then(*renames: Callable[[Weights], Weights]) -> Callable[[Weights], Weights]:
    def rename(weights: Weights) -> Weights:
        for step in renames:
            weights = step(weights)
        return weights

    return rename


LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
NO_WINDOW = dict(use_sliding_window=False, sliding_window=128)
WINDOW = dict(use_sliding_window=True, sliding_window=16)
DYNAMIC = dict(type="dynamic", factor=2.0)
GPT2 = dict(
    model_type="gpt2",
    n_embd=40,
    n_head=5,
    n_layer=2,
    n_positions=128,
    n_ctx=128,
    vocab_size=160,
    activation_function="gelu_new",
    layer_norm_epsilon=1e-5,
    attn_pdrop=0.1,
    embd_pdrop=0.1,
    resid_pdrop=0.1,
    initializer_range=0.02,
    **IDS,
)
NEOX = dict(
    model_type="gpt_neox",
    hidden_size=32,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=2,
    vocab_size=160,
    max_position_embeddings=128,
    hidden_act="gelu",
    layer_norm_eps=1e-5,
    rotary_pct=0.25,
    rotary_emb_base=10000,
    use_parallel_residual=True,
    tie_word_embeddings=False,
    **IDS,
)
GEMMA = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    vocab_size=160,
    max_position_embeddings=128,
    rms_norm_eps=1e-6,
    rope_theta=10000.0,
    attention_bias=False,
    bos_token_id=0,
    eos_token_id=None,
    pad_token_id=2,
)
PHI = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    vocab_size=160,
    max_position_embeddings=128,
    hidden_act="gelu_new",
    layer_norm_eps=1e-5,
    rope_theta=10000.0,
    partial_rotary_factor=0.5,
    qk_layernorm=False,
    tie_word_embeddings=False,
    **IDS,
)
PHI3 = dict(
    model_type="phi3",
    **without(LLAMA, "num_key_value_heads"),
    num_key_value_heads=4,
    pad_token_id=1,
    sliding_window=2047,
)
FACTORS = dict(short_factor=[1.0, 1.1], long_factor=[1.5, 6.0])
STABLELM = dict(
    model_type="stablelm",
    **without(LLAMA, "rms_norm_eps", "num_key_value_heads"),
    num_key_value_heads=4,
    layer_norm_eps=1e-5,
    partial_rotary_factor=0.5,
    use_qkv_bias=False,
)
FALCON = dict(
    model_type="falcon",
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=6,
    vocab_size=160,
    layer_norm_epsilon=1e-5,
    alibi=False,
    bias=False,
    multi_query=True,
    new_decoder_architecture=False,
    parallel_attn=True,
    max_position_embeddings=128,
    **IDS,
)
BLOOM = dict(
    model_type="bloom",
    n_embed=32,
    n_layer=2,
    num_attention_heads=4,
    vocab_size=160,
    layer_norm_epsilon=1e-5,
    **IDS,
)
MPT = dict(
    model_type="mpt",
    d_model=32,
    n_heads=4,
    n_layers=2,
    expansion_ratio=4,
    max_seq_len=128,
    vocab_size=160,
    no_bias=True,
    norm_type="low_precision_layernorm",
    learned_pos_emb=True,
    attn_config=dict(alibi=True, alibi_bias_max=8, attn_impl="torch", attn_type="multihead_attention", qk_ln=False),
    **IDS,
)
COHERE = dict(
    model_type="cohere",
    **without(LLAMA, "rms_norm_eps", "tie_word_embeddings"),
    layer_norm_eps=1e-5,
    logit_scale=0.0625,
    use_qk_norm=False,
    attention_bias=False,
)
GPTJ = dict(
    model_type="gptj",
    n_embd=32,
    n_head=2,
    n_layer=2,
    n_positions=128,
    n_inner=None,
    rotary_dim=8,
    vocab_size=160,
    activation_function="gelu_new",
    layer_norm_epsilon=1e-5,
    tie_word_embeddings=False,
    **IDS,
)
BIGCODE = dict(
    model_type="gpt_bigcode",
    n_embd=32,
    n_head=4,
    n_layer=2,
    n_inner=96,
    n_positions=128,
    vocab_size=160,
    activation_function="gelu_pytorch_tanh",
    layer_norm_epsilon=1e-5,
    multi_query=True,
    **IDS,
)


def internlm2(weights: Weights) -> Weights:
    """wqkv has the queries of each key head, then its key, then its value."""
    import torch

    out, heads, kv, dim = {}, 4, 2, 8
    names = replaced(
        ("embed_tokens", "tok_embeddings"),
        ("lm_head", "output"),
        ("self_attn.o_proj", "attention.wo"),
        ("mlp.gate_proj", "feed_forward.w1"),
        ("mlp.up_proj", "feed_forward.w3"),
        ("mlp.down_proj", "feed_forward.w2"),
        ("input_layernorm", "attention_norm"),
        ("post_attention_layernorm", "ffn_norm"),
    )(weights)
    for name, w in names.items():
        if "q_proj" in name:
            parts = [
                w.view(kv, heads // kv, dim, -1),
                names[name.replace("q_proj", "k_proj")].view(kv, 1, dim, -1),
                names[name.replace("q_proj", "v_proj")].view(kv, 1, dim, -1),
            ]
            fused = torch.cat(parts, dim=1).flatten(0, 2).contiguous()
            out[name.replace("self_attn.q_proj", "attention.wqkv")] = fused
        elif "k_proj" not in name and "v_proj" not in name:
            out[name] = w
    return out


def phi_msft(weights: Weights) -> Weights:
    import torch

    names = replaced(
        ("model.embed_tokens", "transformer.embd.wte"),
        ("model.final_layernorm", "lm_head.ln"),
        ("lm_head.weight", "lm_head.linear.weight"),
        ("lm_head.bias", "lm_head.linear.bias"),
        ("model.layers", "transformer.h"),
        ("input_layernorm", "ln"),
        ("self_attn.dense", "mixer.out_proj"),
    )(weights)
    out = {}
    for name, w in names.items():
        if "q_proj" in name:
            fused = [w, names[name.replace("q_proj", "k_proj")], names[name.replace("q_proj", "v_proj")]]
            out[name.replace("self_attn.q_proj", "mixer.Wqkv")] = torch.cat(fused).contiguous()
        elif "k_proj" not in name and "v_proj" not in name:
            out[name] = w
    return out


def sparse(
    name: str,
    model_type: str,
    dtype: str = "bfloat16",
    rename: Callable[[Weights], Weights] | None = None,
    gains: dict | None = None,
    **fields,
) -> Row:
    """A mixture of experts over Llama's fields."""
    config = {"model_type": model_type, **LLAMA, "router_aux_loss_coef": 0.01, "output_router_logits": False, **fields}
    return Row(name, config, dtype=dtype, rename=rename or one_by_one(), **(gains or {}))


QWEN3_MOE = dict(
    head_dim=16,
    moe_intermediate_size=16,
    num_experts=16,
    num_experts_per_tok=4,
    norm_topk_prob=True,
    decoder_sparse_step=1,
    mlp_only_layers=[],
    max_window_layers=2,
    sliding_window=None,
    use_sliding_window=False,
    attention_bias=False,
)
QWEN2_MOE = dict(
    moe_intermediate_size=16,
    shared_expert_intermediate_size=32,
    num_experts=12,
    num_experts_per_tok=4,
    norm_topk_prob=False,
    decoder_sparse_step=1,
    **NO_WINDOW,
    max_window_layers=1,
)
GPT_OSS = dict(
    model_type="gpt_oss",
    **{**LLAMA, "intermediate_size": 16, "head_dim": 16, "rope_theta": 150000.0},
    num_local_experts=8,
    num_experts_per_tok=4,
    experts_per_token=4,
    initial_context_length=32,
    swiglu_limit=1.0,
    attention_bias=True,
    sliding_window=16,
    layer_types=["sliding_attention", "full_attention"],
    rope_scaling=dict(
        rope_type="yarn",
        factor=4.0,
        beta_fast=32.0,
        beta_slow=1.0,
        original_max_position_embeddings=32,
        truncate=False,
    ),
)
DEEPSEEK_EXPERTS = dict(
    moe_intermediate_size=16,
    n_routed_experts=16,
    n_shared_experts=2,
    num_experts_per_tok=3,
    first_k_dense_replace=1,
    moe_layer_freq=1,
    norm_topk_prob=False,
    scoring_func="softmax",
    aux_loss_alpha=0.001,
    seq_aux=True,
    attention_bias=False,
)
DEEPSEEK = dict(
    **{**LLAMA, "num_key_value_heads": 4},
    kv_lora_rank=16,
    qk_nope_head_dim=8,
    qk_rope_head_dim=8,
    v_head_dim=8,
)
DEEPSEEK_V3 = dict(
    q_lora_rank=24,
    n_shared_experts=1,
    scoring_func="sigmoid",
    topk_method="noaux_tc",
    n_group=4,
    topk_group=2,
    norm_topk_prob=True,
    routed_scaling_factor=2.5,
)
DEEPSEEK_YARN = dict(beta_fast=32, beta_slow=1, factor=4, original_max_position_embeddings=32, type="yarn")


def with_deepseek_experts(model) -> None:
    """DeepSeekMoE is Llama with the experts of DeepSeek-V2, which transformers has."""
    from transformers import AutoConfig
    from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe

    fields = {**DEEPSEEK, **DEEPSEEK_EXPERTS, "topk_method": "greedy", "mlp_bias": False}
    config = AutoConfig.for_model("deepseek_v2", **fields)
    config._experts_implementation = "eager"
    for layer in model.model.layers[DEEPSEEK_EXPERTS["first_k_dense_replace"] :]:
        layer.mlp = DeepseekV2Moe(config)


MINICPM = without({**LLAMA, "tie_word_embeddings": True}, "rope_theta")
ROWS: list[Row] = [
    Row("gpt2", GPT2, dtype="float32", rename=stripped("transformer.")),
    Row(
        "gpt2-f16",
        {**GPT2, "n_inner": 72, "scale_attn_by_inverse_layer_idx": True, "activation_function": "gelu"},
        dtype="float16",
    ),
    Row("gpt_neox", NEOX, dtype="float16", rename=replaced(("lm_head", "embed_out"))),
    Row(
        "gpt_neox-sequential",
        {**NEOX, "use_parallel_residual": False, "rotary_pct": 1.0, "hidden_act": "relu"},
        rename=replaced(("lm_head", "embed_out")),
    ),
    llama("linear", rope_scaling=dict(type="linear", factor=4.0)),
    llama("dynamic-short", context=64, prompt=24, greedy=40, max_position_embeddings=64, rope_scaling=DYNAMIC),
    llama("dynamic-long", prompt=72, greedy=56, max_position_embeddings=64, rope_scaling=DYNAMIC),
    llama("yarn", head_dim=16, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)),
    llama("llama3", head_dim=16, rope_scaling=LLAMA3),
    llama("mha-f32", dtype="float32", num_key_value_heads=4, rope_theta=1e6, attention_bias=True, mlp_bias=True),
    derived("mistral-window", "mistral", sliding_window=16),
    derived("mistral-nemo", "mistral", sliding_window=None, head_dim=24, rope_theta=1e6),
    derived("qwen2", "qwen2", rope_theta=1e6, tie_word_embeddings=True, **NO_WINDOW, max_window_layers=2),
    derived("qwen2-window", "qwen2", num_hidden_layers=3, **WINDOW, max_window_layers=1),
    derived("qwen3", "qwen3", head_dim=16, tie_word_embeddings=True, attention_bias=False),
    derived("qwen3-bias-f16", "qwen3", dtype="float16", head_dim=8, attention_bias=True),
    Row("gemma", {"model_type": "gemma", **GEMMA, "num_key_value_heads": 1, "hidden_act": "gelu_pytorch_tanh"}),
    Row(
        "gemma2",
        {
            "model_type": "gemma2",
            **GEMMA,
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": 24,
            "sliding_window": 16,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 10.0,
        },
    ),
    Row(
        "gemma3_text",
        {
            "model_type": "gemma3_text",
            **GEMMA,
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": 16,
            "sliding_window": 16,
            "sliding_window_pattern": 3,
            "rope_local_base_freq": 100,
            "rope_theta": 1e6,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
    ),
    Row("phi", {"model_type": "phi", **PHI}, dtype="float16"),
    Row(
        "phi-msft",
        dict(
            model_type="phi-msft",
            n_embd=32,
            n_head=2,
            n_head_kv=None,
            n_inner=None,
            n_layer=2,
            n_positions=128,
            rotary_dim=8,
            vocab_size=160,
            activation_function="gelu_new",
            layer_norm_epsilon=1e-5,
            tie_word_embeddings=False,
            **IDS,
        ),
        dtype="float16",
        model=dict(model_type="phi", **{**PHI, "intermediate_size": 128}),
        rename=phi_msft,
    ),
    Row("phi3", {**PHI3, "sliding_window": 16}),
    Row(
        "phi3-longrope-short",
        {
            **PHI3,
            "head_dim": 8,
            "num_key_value_heads": 2,
            "partial_rotary_factor": 0.5,
            "original_max_position_embeddings": 64,
            "rope_scaling": dict(type="longrope", **FACTORS),
        },
        context=64,
        prompt=24,
        greedy=40,
    ),
    Row(
        "phi3-longrope-long",
        {
            **PHI3,
            "num_key_value_heads": 2,
            "partial_rotary_factor": 0.5,
            "original_max_position_embeddings": 64,
            "tie_word_embeddings": True,
            "rope_scaling": dict(type="longrope", **FACTORS),
        },
        prompt=72,
        greedy=56,
    ),
    Row(
        "starcoder2",
        {
            "model_type": "starcoder2",
            **without(LLAMA, "rms_norm_eps", "tie_word_embeddings"),
            "hidden_act": "gelu_pytorch_tanh",
            "norm_epsilon": 1e-5,
            "norm_type": "layer_norm",
            "use_bias": True,
            "sliding_window": 16,
        },
    ),
    Row("stablelm", STABLELM),
    Row(
        "stablelm-parallel",
        {**STABLELM, "use_parallel_residual": True, "use_qkv_bias": True, "num_key_value_heads": 2},
        dtype="float16",
    ),
    derived("olmo2", "olmo2", rms_norm_eps=1e-6, rope_theta=500000.0),
    derived("olmo2-mha", "olmo2", dtype="float32", num_key_value_heads=4, num_attention_heads=4),
    derived(
        "granite",
        "granite",
        gains=dict(embed_gain=0.05, head_gain=160, matrix_gain=3),
        embedding_multiplier=12.0,
        logits_scaling=8.0,
        residual_multiplier=0.22,
        attention_multiplier=0.0625,
        tie_word_embeddings=True,
        attention_bias=True,
    ),
    derived(
        "smollm3",
        "smollm3",
        num_hidden_layers=4,
        no_rope_layer_interval=2,
        pad_token_id=1,
        tie_word_embeddings=True,
        use_sliding_window=False,
        sliding_window=None,
    ),
    derived("smollm3-list", "smollm3", dtype="float16", num_hidden_layers=3, no_rope_layers=[0, 1, 1], pad_token_id=1),
    Row("falcon-7b", FALCON),
    Row("falcon-40b", {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2, "multi_query": False, "bias": True}),
    Row("bloom", BLOOM, dtype="float16", rename=stripped("transformer."), matrix_gain=2),
    Row("bloom-6-heads", {**BLOOM, "n_embed": 48, "num_attention_heads": 6, "n_head": 6}, matrix_gain=2),
    Row("mpt", MPT),
    Row("mpt-6-heads", {**MPT, "d_model": 48, "n_heads": 6}, dtype="float16"),
    Row("cohere", COHERE, dtype="float16", head_gain=8),
    Row("cohere-qk-norm", {**COHERE, "use_qk_norm": True, "attention_bias": True}, head_gain=8),
    Row("gptj", GPTJ, dtype="float16"),
    Row("gpt_bigcode", BIGCODE),
    Row("gpt_bigcode-mha", {**BIGCODE, "multi_query": False}),
    Row(
        "internlm",
        {"model_type": "internlm", **without(LLAMA, "num_key_value_heads", "rope_theta"), "bias": True},
        dtype="float16",
        model=dict(model_type="llama", **{**LLAMA, "num_key_value_heads": 4}, attention_bias=True),
    ),
    Row(
        "internlm2",
        {"model_type": "internlm2", **LLAMA, "bias": False, "rope_scaling": DYNAMIC, "max_position_embeddings": 64},
        # A copy: transformers writes into what it is given.
        model=dict(model_type="llama", **{**LLAMA, "max_position_embeddings": 64}, rope_scaling=dict(DYNAMIC)),
        rename=internlm2,
        prompt=72,
        greedy=56,
    ),
    Row(
        "minicpm",
        {"model_type": "minicpm", **MINICPM, "scale_emb": 12, "dim_model_base": 16, "scale_depth": 1.4},
        model=dict(
            model_type="granite",
            **MINICPM,
            rope_theta=10000.0,
            embedding_multiplier=12.0,
            residual_multiplier=1.4 / 2**0.5,
            logits_scaling=2.0,
            attention_multiplier=8**-0.5,
        ),
        embed_gain=0.2,
        head_gain=10,
    ),
    sparse(
        "mixtral",
        "mixtral",
        rename=then(one_by_one("w1", "w3", "w2"), replaced((".mlp.", ".block_sparse_moe."))),
        intermediate_size=12,
        num_local_experts=8,
        num_experts_per_tok=2,
        sliding_window=None,
    ),
    sparse(
        "mixtral-window",
        "mixtral",
        dtype="float16",
        rename=then(one_by_one("w1", "w3", "w2"), replaced((".mlp.", ".block_sparse_moe."))),
        intermediate_size=16,
        num_local_experts=6,
        num_experts_per_tok=1,
        sliding_window=16,
        num_hidden_layers=1,
    ),
    sparse("qwen3_moe", "qwen3_moe", **QWEN3_MOE),
    sparse(
        "qwen3_moe-256",
        "qwen3_moe",
        **{
            **QWEN3_MOE,
            "num_experts": 256,
            "moe_intermediate_size": 8,
            "num_experts_per_tok": 8,
            "mlp_only_layers": [1],
        },
    ),
    sparse(
        "qwen3_moe-dense",
        "qwen3_moe",
        dtype="float16",
        **{
            **QWEN3_MOE,
            "num_hidden_layers": 4,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [1],
            "norm_topk_prob": False,
        },
    ),
    sparse(
        "qwen3_moe-window",
        "qwen3_moe",
        dtype="float16",
        **{
            **QWEN3_MOE,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "use_sliding_window": True,
            "sliding_window": 16,
            "max_window_layers": 0,
        },
    ),
    sparse("qwen2_moe", "qwen2_moe", **QWEN2_MOE),
    sparse(
        "olmoe",
        "olmoe",
        intermediate_size=16,
        num_experts=64,
        num_experts_per_tok=8,
        norm_topk_prob=False,
        clip_qkv=None,
    ),
    sparse(
        "olmoe-clip",
        "olmoe",
        dtype="float16",
        num_hidden_layers=1,
        intermediate_size=16,
        num_experts=6,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        clip_qkv=0.75,
    ),
    sparse(
        "granitemoe",
        "granitemoe",
        rename=replaced(
            ("experts.gate_up_proj", "input_linear.weight"),
            ("experts.down_proj", "output_linear.weight"),
            ("router.weight", "router.layer.weight"),
        ),
        gains=dict(embed_gain=0.05, head_gain=160, matrix_gain=3),
        intermediate_size=16,
        num_local_experts=8,
        num_experts_per_tok=2,
        embedding_multiplier=12.0,
        logits_scaling=8.0,
        residual_multiplier=0.22,
        attention_multiplier=0.0625,
        tie_word_embeddings=True,
    ),
    Row(
        "minicpm-moe",
        {
            "model_type": "minicpm",
            **MINICPM,
            "intermediate_size": 16,
            "scale_emb": 12,
            "dim_model_base": 16,
            "scale_depth": 1.4,
            "num_experts": 8,
            "num_experts_per_tok": 2,
        },
        model=dict(
            model_type="granitemoe",
            **{**MINICPM, "intermediate_size": 16},
            num_local_experts=8,
            num_experts_per_tok=2,
            rope_theta=10000.0,
            embedding_multiplier=12.0,
            residual_multiplier=1.4 / 2**0.5,
            logits_scaling=2.0,
            attention_multiplier=8**-0.5,
        ),
        rename=then(
            one_by_one("w1", "w3", "w2"), replaced((".block_sparse_moe.", ".mlp."), (".router.weight", ".gate.weight"))
        ),
        embed_gain=0.2,
        head_gain=10,
    ),
    Row("gpt_oss", GPT_OSS),
    Row("gpt_oss-f16", {**GPT_OSS, "num_experts_per_tok": 1, "experts_per_token": 1, "swiglu_limit": 0.5}, dtype="float16"),
    Row(
        "deepseek",
        {"model_type": "deepseek", **LLAMA, **DEEPSEEK_EXPERTS},
        model=dict(model_type="llama", **LLAMA),
        patch=with_deepseek_experts,
        rename=one_by_one(),
    ),
    Row(
        "deepseek_v2",
        {
            "model_type": "deepseek_v2",
            **DEEPSEEK,
            **DEEPSEEK_EXPERTS,
            "q_lora_rank": 24,
            "topk_method": "group_limited_greedy",
            "n_group": 4,
            "topk_group": 2,
            "routed_scaling_factor": 2.0,
            "rope_scaling": {**DEEPSEEK_YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
        },
        rename=one_by_one(),
    ),
    Row(
        "deepseek_v2-lite",
        {
            "model_type": "deepseek_v2",
            **DEEPSEEK,
            **DEEPSEEK_EXPERTS,
            "q_lora_rank": None,
            "topk_method": "greedy",
            "n_group": 1,
            "topk_group": 1,
            "routed_scaling_factor": 1.0,
            "v_head_dim": 12,
            "attention_bias": True,
            "n_shared_experts": 1,
            "rope_scaling": {**DEEPSEEK_YARN, "mscale": 1.0, "mscale_all_dim": 0.5},
        },
        dtype="float16",
        rename=one_by_one(),
    ),
    Row(
        "deepseek_v3",
        {
            "model_type": "deepseek_v3",
            **DEEPSEEK,
            **DEEPSEEK_EXPERTS,
            **DEEPSEEK_V3,
            "num_hidden_layers": 3,
            "num_nextn_predict_layers": 1,
            "rope_scaling": {**DEEPSEEK_YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
        rename=one_by_one(),
        predictors=1,
    ),
    Row(
        "deepseek_v3-halves",
        {
            "model_type": "deepseek_v3",
            **DEEPSEEK,
            **DEEPSEEK_EXPERTS,
            **DEEPSEEK_V3,
            "num_attention_heads": 20,
            "num_key_value_heads": 20,
            "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 4,
            "v_head_dim": 4,
            "kv_lora_rank": 72,
            "q_lora_rank": None,
            "rope_interleave": False,
            "first_k_dense_replace": 0,
            "n_group": 1,
            "topk_group": 1,
            "norm_topk_prob": False,
            "num_nextn_predict_layers": 1,
        },
        dtype="float16",
        rename=one_by_one(),
    ),
    Row(
        "orion",
        {"model_type": "orion", **LLAMA, "num_key_value_heads": 4},
        model=dict(STABLELM, partial_rotary_factor=1.0),
    ),
]
