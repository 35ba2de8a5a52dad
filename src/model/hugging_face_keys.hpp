#pragma once
// Each architecture's part of a config.json, both ways.
#include "model/json_keys.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::model {

[[nodiscard]] Gpt2Config read_gpt2(JsonKeys& keys);
/// Of model type llama, qwen2 or qwen3.
[[nodiscard]] LlamaConfig read_llama(JsonKeys& keys, LlamaKind kind);

/// All but the type of the tensors.
[[nodiscard]] nlohmann::json write_keys(const Gpt2Config& c);
[[nodiscard]] nlohmann::json write_keys(const LlamaConfig& c);

/// The shortest number that is `value` again as fp32: 1e-05, not 9.999999747378752e-06.
[[nodiscard]] nlohmann::json shortest(float value);

}  // namespace sherd::model
