#include "sherd/model/description.hpp"

#include <fmt/format.h>

#include "model/json_keys.hpp"
#include "model/lora_keys.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/json.hpp"

namespace sherd::model {
namespace {

using nlohmann::json;

/// As one of `names`, which are in the order of the values.
template <class Enum, std::size_t n>
Enum one_of(JsonKeys& keys, const char* key, const char* const (&names)[n]) {
  const json* value = keys.find(key);
  for (std::size_t i = 0; i < n; ++i)
    if (value != nullptr && *value == names[i]) return static_cast<Enum>(i);
  if (value == nullptr) {
    keys.missing(key);
  } else {
    keys.problem(key, *value, fmt::format("{}", fmt::join(names, ", ")));
  }
  return Enum{};
}

// An eps has no default here: a description says everything.
float eps_of(JsonKeys& keys) {
  if (keys.find("eps") == nullptr) keys.missing("eps");
  return keys.fraction("eps", 0.5f);
}

LoraConfig lora_of(JsonKeys& keys) {
  const json* object = keys.find("lora");
  if (object == nullptr) return {};
  JsonKeys own(*object, "lora.");
  LoraConfig lora;
  lora.rank = own.needed("rank");
  lora.alpha = static_cast<float>(own.needed_number("alpha"));
  lora.sites = take_sites(own, "targets");
  keys.problems.insert(keys.problems.end(), own.problems.begin(), own.problems.end());
  return lora;
}

Gpt2Config gpt2_of(JsonKeys& keys) {
  Gpt2Config c;
  c.layers = keys.needed("layers");
  c.heads = keys.needed("heads");
  c.width = keys.needed("width");
  c.ffn_width = keys.needed("ffn_width");
  c.vocab_size = keys.needed("vocab_size");
  c.context = keys.needed("context");
  const json* dropout = keys.find("dropout");
  if (dropout != nullptr && *dropout != 0) c.dropout = keys.fraction("dropout", 0);
  c.eps = eps_of(keys);
  c.lora = lora_of(keys);
  return c;
}

kernels::Rotary rotary_of(JsonKeys& keys) {
  const json* object = keys.find("rotary");
  if (object == nullptr || !object->is_object()) {
    keys.missing("rotary");
    return {};
  }
  JsonKeys own(*object, "rotary.");
  kernels::Rotary r;
  r.theta = own.needed_number("theta");
  r.scaling = one_of<kernels::RotaryScaling>(own, "scaling", {"none", "linear", "llama3"});
  if (r.scaling != kernels::RotaryScaling::none) r.factor = own.needed_number("factor");
  if (r.scaling == kernels::RotaryScaling::llama3) {
    r.low_freq_factor = own.needed_number("low_freq_factor");
    r.high_freq_factor = own.needed_number("high_freq_factor");
    r.original_context = own.needed_number("original_context");
  }
  keys.problems.insert(keys.problems.end(), own.problems.begin(), own.problems.end());
  return r;
}

LlamaConfig llama_of(JsonKeys& keys) {
  LlamaConfig c;
  c.kind = one_of<LlamaKind>(keys, "kind", {"llama", "qwen2", "qwen3"});
  c.layers = keys.needed("layers");
  c.heads = keys.needed("heads");
  c.kv_heads = keys.needed("kv_heads");
  c.head_dim = keys.needed("head_dim");
  c.width = keys.needed("width");
  c.ffn_width = keys.needed("ffn_width");
  c.vocab_size = keys.needed("vocab_size");
  c.context = keys.needed("context");
  c.rotary = rotary_of(keys);
  c.eps = eps_of(keys);
  c.tied = keys.flag("tied", false);
  c.lora = lora_of(keys);
  return c;
}

}  // namespace

Architecture parse_description(const std::string& where, const std::string& text) {
  const std::string path = where + ": model";
  const json all = text.empty() ? json() : io::parse_json(path, 0, text, {.values = 1024});
  const json* name =
      all.is_object() && all.contains("architecture") ? &all["architecture"] : nullptr;
  if (name == nullptr || (*name != "gpt2" && *name != "llama")) {
    throw DataError(path + ": is of a network that sherd does not know by itself" +
                    (name == nullptr ? "" : " (" + shown(*name) + ")") +
                    "; only the program that trained it can build it");
  }
  JsonKeys keys(all);
  const Architecture found =
      *name == "gpt2" ? Architecture(gpt2_of(keys)) : Architecture(llama_of(keys));
  std::vector<std::string> problems = std::move(keys.problems);
  if (problems.empty()) problems = problems_of(found);
  if (!problems.empty()) throw DataError(fmt::format("{}: {}", path, fmt::join(problems, "; ")));
  return found;
}

}  // namespace sherd::model
