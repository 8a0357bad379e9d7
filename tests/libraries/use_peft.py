"""peft: adapters on a small Llama by LoRA, DoRA, IA3 and prompts; saved, loaded and merged."""

import tempfile

import torch
from peft import IA3Config, LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

base = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
)  # fmt: skip
torch.manual_seed(0)
tokens = torch.randint(0, 64, (2, 12))
task, places = "CAUSAL_LM", ["q_proj", "v_proj"]
configs = {
    "lora": LoraConfig(task_type=task, r=4, lora_alpha=8, target_modules=places),
    "dora": LoraConfig(task_type=task, r=4, use_dora=True, target_modules=places),
    "ia3": IA3Config(task_type=task, target_modules=places, feedforward_modules=[]),
    "prompt": PromptTuningConfig(task_type=task, num_virtual_tokens=4),
}
for name, config in configs.items():
    torch.manual_seed(1)
    model = get_peft_model(LlamaForCausalLM(base), config)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    for _ in range(3):
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(name, len(trained), round(loss.item(), 4))
    if name == "lora":
        tuned = model.eval()

with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    tuned.save_pretrained(folder)
    torch.manual_seed(1)
    loaded = PeftModel.from_pretrained(LlamaForCausalLM(base), folder).eval()
    print(torch.allclose(tuned(tokens).logits, loaded(tokens).logits, atol=1e-5))
    merged = loaded.merge_and_unload()
    print(torch.allclose(tuned(tokens).logits, merged(tokens).logits, atol=1e-4))
