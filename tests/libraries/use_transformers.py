"""transformers: small models from configurations, forward, backward and generation."""

import sys

import torch
import transformers as tf

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "intermediate_size": 48, "vocab_size": 99, "max_position_embeddings": 64}  # fmt: skip
MODELS = {
    "bert": lambda: tf.BertForMaskedLM(tf.BertConfig(**SMALL)),
    "distilbert": lambda: tf.DistilBertForSequenceClassification(
        tf.DistilBertConfig(vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=48)
    ),
    "gpt2": lambda: tf.GPT2LMHeadModel(
        tf.GPT2Config(vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    ),
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**SMALL, num_key_value_heads=2)),
    "t5": lambda: tf.T5ForConditionalGeneration(
        tf.T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                    decoder_start_token_id=0)
    ),
    "vit": lambda: tf.ViTForImageClassification(
        tf.ViTConfig(image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2,
                     num_attention_heads=4, intermediate_size=48)
    ),
}  # fmt: skip

for name in sys.argv[1:] or MODELS:
    torch.manual_seed(0)
    model = MODELS[name]()
    model.eval()
    ids = torch.randint(1, 99, (2, 9))
    if name == "vit":
        inputs = {"pixel_values": torch.randn(2, 3, 32, 32), "labels": torch.tensor([0, 1])}
    elif name == "distilbert":
        inputs = {"input_ids": ids, "labels": torch.tensor([0, 1])}
    else:
        inputs = {"input_ids": ids, "labels": ids}
    out = model(**inputs)
    out.loss.backward()
    norm = sum(p.grad.double().norm() for p in model.parameters() if p.grad is not None)
    print(name, f"{out.loss.item():.4f} {norm.item():.3f} {out.logits.double().std().item():.4f}")
    if name in ("gpt2", "llama", "t5"):
        made = model.generate(ids[:, :4], max_new_tokens=5, do_sample=False, pad_token_id=0)
        print("  ", made.tolist())
