"""Name a few concepts through a real third-party server: ``transformers serve`` with a tiny vision model.

Run from the repository in an environment that also has ``transformers[serving]``:
``python -m benchmarks.third_party_server``. Builds a Llava of random weights (no download), serves it on 127.0.0.1 and
names concepts through it. A model of random weights writes nonsense, so every concept has to end as a failure record
with its reason; what is shown is that the requests are understood by a server that this project did not write.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib import resources
from pathlib import Path

from precompute.config import LlmConfig
from precompute.llm.client import LlmClient
from precompute.naming.namer import LlmNamer
from precompute.records import Concept
from tests.drawn_references import INPUT_SIZE, drawn_evidence

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}<image>{% endif %}{% endfor %}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def build_model(folder: Path) -> int:
    """Write a Llava with random weights, its tokenizer and processor; returns the number of parameters."""
    import torch  # noqa: PLC0415 - this and transformers are needed for this step alone
    import transformers as hf  # noqa: PLC0415
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415

    torch.manual_seed(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<pad>", "<s>", "</s>", "<image>"]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([resources.files("prompts").joinpath("naming.md.j2").read_text()], trainer)
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=["<image>"],
    )
    fast.image_token = "<image>"
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**layers, image_size=56, patch_size=14, projection_dim=32),
        text_config=hf.LlamaConfig(**layers, vocab_size=len(fast), max_position_embeddings=16384),
        image_token_index=fast.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
    )
    model = hf.LlavaForConditionalGeneration(config)
    model.generation_config.do_sample = False
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    pictures = hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    hf.LlavaProcessor(
        pictures,
        fast,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return int(sum(parameter.numel() for parameter in model.parameters()))


def wait_for(address: str, seconds: float = 120.0) -> None:
    """Wait until the server is healthy."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def main() -> int:
    """Build, serve, name, print; returns 0 where each concept has a name or a reason and the server was understood."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=3)
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{build_model(Path(folder) / 'model'):,} random weights")
        command = [str(Path(sys.executable).with_name("transformers")), "serve", f"{folder}/model"]
        command += ["--host", "127.0.0.1", "--port", str(arguments.port), "--device", "cpu"]
        with subprocess.Popen(command, env=dict(os.environ, HF_HUB_OFFLINE="1"), stderr=subprocess.DEVNULL) as server:
            try:
                wait_for(f"http://127.0.0.1:{arguments.port}/health")
                return name_through(f"http://127.0.0.1:{arguments.port}/v1", f"{folder}/model", arguments.concepts)
            finally:
                server.terminate()


def name_through(base_url: str, model: str, n_concepts: int) -> int:
    """Name drawn concepts through the server and print what came of it."""
    with tempfile.TemporaryDirectory() as cache:
        config = LlmConfig(base_url=base_url, model=model, timeout=300, concurrency=1, max_retries=1)
        client = LlmClient(config, Path(cache), environment={})
        evidence = [drawn_evidence(Concept("features.28", channel)) for channel in range(n_concepts)]
        names = list(LlmNamer(client, input_size=INPUT_SIZE).name(evidence))
        for name in names:
            print(f"{name.concept}: {name.name or 'failed: ' + name.failure}")
        budget = client.budget
        print(f"{budget.n_calls} answers, {budget.input_tokens} input and {budget.output_tokens} output tokens counted")
        return 0 if len(names) == n_concepts and budget.input_tokens > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
