#include "sherd/model/tensor_map.hpp"

#include <string_view>

namespace sherd::model {
namespace {

/// Writes one row of the table after the other.
class Table {
 public:
  /// The tensors and parameters named from now on start like this.
  void within(std::string theirs, std::string ours) {
    theirs_ = std::move(theirs);
    ours_ = std::move(ours);
  }
  void vector(const char* theirs, const char* ours, std::int64_t size, std::int64_t first = 0) {
    add(theirs, ours, {static_cast<std::uint64_t>(size)}, first, size, false);
  }
  /// As it lies: [in, out] of a Conv1D, or a table.
  void matrix(const char* theirs, const char* ours, Shape shape) {
    add(theirs, ours, dimensions(shape.rows, shape.cols), 0, shape.cols, false);
  }
  /// A Linear, [out, in] there: `columns` of ours, from `first` on.
  void linear(const char* theirs, const char* ours, std::int64_t in, std::int64_t columns,
              std::int64_t first = 0) {
    add(theirs, ours, dimensions(columns, in), first, columns, true);
  }

  std::vector<FolderTensor> rows;

 private:
  static std::vector<std::uint64_t> dimensions(std::int64_t rows, std::int64_t cols) {
    return {static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols)};
  }
  void add(const char* theirs, const char* ours, std::vector<std::uint64_t> shape,
           std::int64_t first, std::int64_t columns, bool transposed) {
    rows.push_back({theirs_ + theirs, std::move(shape), ours_ + ours, first, columns, transposed});
  }

  std::string theirs_, ours_;
};

std::vector<FolderTensor> map_of(const Gpt2Config& c) {
  const std::int64_t width = c.width, ffn = c.ffn_width;
  Table t;
  t.within("transformer.", "");
  t.matrix("wte.weight", "embed.wte", {c.vocab_size, width});
  t.matrix("wpe.weight", "embed.wpe", {c.context, width});
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = std::to_string(i);
    t.within("transformer.h." + layer + ".", "layer" + layer + ".");
    t.vector("ln_1.weight", "attention.ln_gamma", width);
    t.vector("ln_1.bias", "attention.ln_beta", width);
    t.matrix("attn.c_attn.weight", "attention.qkv_weight", {width, 3 * width});
    t.vector("attn.c_attn.bias", "attention.qkv_bias", 3 * width);
    t.matrix("attn.c_proj.weight", "attention.proj_weight", {width, width});
    t.vector("attn.c_proj.bias", "attention.proj_bias", width);
    t.vector("ln_2.weight", "mlp.ln_gamma", width);
    t.vector("ln_2.bias", "mlp.ln_beta", width);
    t.matrix("mlp.c_fc.weight", "mlp.fc_weight", {width, ffn});
    t.vector("mlp.c_fc.bias", "mlp.fc_bias", ffn);
    t.matrix("mlp.c_proj.weight", "mlp.proj_weight", {ffn, width});
    t.vector("mlp.c_proj.bias", "mlp.proj_bias", width);
  }
  t.within("transformer.", "head.");
  t.vector("ln_f.weight", "ln_gamma", width);
  t.vector("ln_f.bias", "ln_beta", width);
  return std::move(t.rows);
}

void add_attention(Table& t, const LlamaConfig& c) {
  const std::int64_t q = c.attention_width(), kv = c.kv_width();
  t.vector("input_layernorm.weight", "attention.norm_gain", c.width);
  t.linear("self_attn.q_proj.weight", "attention.qkv_weight", c.width, q);
  t.linear("self_attn.k_proj.weight", "attention.qkv_weight", c.width, kv, q);
  t.linear("self_attn.v_proj.weight", "attention.qkv_weight", c.width, kv, q + kv);
  if (c.kind == LlamaKind::qwen2) {
    t.vector("self_attn.q_proj.bias", "attention.qkv_bias", q);
    t.vector("self_attn.k_proj.bias", "attention.qkv_bias", kv, q);
    t.vector("self_attn.v_proj.bias", "attention.qkv_bias", kv, q + kv);
  } else if (c.kind == LlamaKind::qwen3) {
    t.vector("self_attn.q_norm.weight", "attention.q_gain", c.head_dim);
    t.vector("self_attn.k_norm.weight", "attention.k_gain", c.head_dim);
  }
  t.linear("self_attn.o_proj.weight", "attention.proj_weight", q, c.width);
}

void add_mlp(Table& t, const LlamaConfig& c) {
  t.vector("post_attention_layernorm.weight", "mlp.norm_gain", c.width);
  t.linear("mlp.gate_proj.weight", "mlp.gate_up_weight", c.width, c.ffn_width);
  t.linear("mlp.up_proj.weight", "mlp.gate_up_weight", c.width, c.ffn_width, c.ffn_width);
  t.linear("mlp.down_proj.weight", "mlp.down_weight", c.ffn_width, c.width);
}

std::vector<FolderTensor> map_of(const LlamaConfig& c) {
  Table t;
  t.matrix("model.embed_tokens.weight", "embed.table", {c.vocab_size, c.width});
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = std::to_string(i);
    t.within("model.layers." + layer + ".", "layer" + layer + ".");
    add_attention(t, c);
    add_mlp(t, c);
  }
  t.within("", "head.");
  t.vector("model.norm.weight", "norm_gain", c.width);
  if (!c.tied) t.matrix("lm_head.weight", "lm_head", {c.vocab_size, c.width});
  return std::move(t.rows);
}

}  // namespace

std::vector<FolderTensor> tensor_map(const Architecture& architecture) {
  return std::visit([](const auto& c) { return map_of(c); }, architecture);
}

std::string adapter_of(const Architecture& architecture, const FolderTensor& tensor) {
  constexpr std::string_view weight = ".weight";
  if (!tensor.name.ends_with(weight)) return {};
  const std::string module = tensor.name.substr(0, tensor.name.size() - weight.size());
  const std::string site = module.substr(module.rfind('.') + 1);
  const auto has = [&](const auto& c) { return c.lora.at(site); };
  if (!std::visit(has, architecture)) return {};
  return tensor.param.substr(0, tensor.param.rfind('.') + 1) + site;
}

std::vector<FolderTensor> adapter_map(const Architecture& architecture) {
  const std::int64_t rank = std::visit([](const auto& c) { return c.lora.rank; }, architecture);
  std::vector<FolderTensor> all;
  for (const FolderTensor& tensor : tensor_map(architecture)) {
    const std::string name = adapter_of(architecture, tensor);
    if (name.empty()) continue;
    // A Linear's tensor is [out, in], a Conv1D's [in, out]; those of adapters are Linears'.
    const std::uint64_t in = tensor.shape[tensor.transposed ? 1 : 0];
    const auto r = static_cast<std::uint64_t>(rank),
               out = static_cast<std::uint64_t>(tensor.columns);
    const std::string module =
        "base_model.model." + tensor.name.substr(0, tensor.name.rfind('.')) + ".lora_";
    all.push_back({module + "A.weight", {r, in}, name + ".lora_a", 0, rank, true});
    all.push_back({module + "B.weight", {out, r}, name + ".lora_b", 0, tensor.columns, true});
  }
  return all;
}

std::string body_prefix(const Architecture& architecture) {
  return std::holds_alternative<Gpt2Config>(architecture) ? "transformer." : "model.";
}

}  // namespace sherd::model
