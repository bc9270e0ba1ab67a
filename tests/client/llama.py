"""llama.cpp's own server with a tiny random model made on the spot: `python llama.py [--embeddings]`.

Writes the model into the current folder, prints the base URL once it listens and serves until it is ended. The model
(llama architecture, two layers, random weights from one seed) says nonsense, but always the same nonsense at
temperature 0; its tokenizer is trained on licence texts. Nothing is fetched.
"""

import json
import sys
import threading
from pathlib import Path

import gguf
import numpy
import tokenizers
import xllamacpp

ALIAS = "tiny"
TEXTS = Path("/usr/share/common-licenses")
OWN_TEXT = Path(__file__).parents[2] / "LICENSE"
VOCABULARY = 768
CONTEXT = 512
WIDTH, LAYERS, HEADS, INNER = 64, 2, 4, 128
CONTROLS = ("<s>", "</s>")
TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def train() -> tokenizers.Tokenizer:
    """A byte-level BPE tokenizer."""
    texts = sorted(path for path in TEXTS.glob("*") if path.is_file() and not path.is_symlink()) or [OWN_TEXT]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(CONTROLS),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((path.read_text(errors="replace") for path in texts), trainer)
    return tokenizer


def write_model(path: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """Writes the model as GGUF."""
    writer = gguf.GGUFWriter(path, "llama")
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    _describe(writer)
    _add_tokenizer(writer, tokenizer, tokens)
    _add_weights(writer, tokens)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name(ALIAS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: tokenizers.Tokenizer, tokens: list[str]) -> None:
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    kinds = [gguf.TokenType.CONTROL if token in CONTROLS else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(tokens.index("</s>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _add_weights(writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    random = numpy.random.default_rng(20)

    def matrix(rows: int, columns: int) -> numpy.ndarray:
        return (random.standard_normal((rows, columns)) / numpy.sqrt(columns)).astype(numpy.float32)

    ones = numpy.ones(WIDTH, numpy.float32)
    output = matrix(len(tokens), WIDTH) * 4
    # Bytes that are no ASCII text and control tokens keep a logit of 0, which some word always beats: text is UTF-8.
    output[[not token.replace("Ġ", " ").isascii() or token in CONTROLS for token in tokens]] = 0
    writer.add_tensor("token_embd.weight", matrix(len(tokens), WIDTH) * 8)
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(WIDTH, WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(INNER, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(WIDTH, INNER))


def start(path: Path, *, embeddings: bool) -> xllamacpp.Server:
    """Starts the server on a free port of the loopback; it lives as long as the object. It embeds or it writes."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = [ALIAS]
    params.port = 0
    params.n_ctx = CONTEXT * 4
    params.n_parallel = 4
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.n_threads_http = 8
    params.cache_prompt = False  # a prompt seen before would change the usage, and rounding with it
    params.warmup = False
    params.ui = False
    params.embedding = embeddings
    if embeddings:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(params)


def main() -> None:
    path = Path("tiny.gguf")
    write_model(path, train())
    server = start(path, embeddings="--embeddings" in sys.argv)
    print(f"llama.cpp serving on {server.listening_address}/v1", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
