#pragma once
// Networks in a folder as Hugging Face lays it out. Folders come from strangers: everything is
// checked.
#include <memory>
#include <string>

#include "sherd/model/config.hpp"
#include "sherd/model/presets.hpp"
#include "sherd/model/weights.hpp"

namespace sherd::model {

/// Reads `folder`/config.json of model type gpt2, llama, qwen2 or qwen3, as current and older
/// versions of transformers spell it. Dropout probabilities in it are ignored: `--dropout` decides.
///
/// **Errors** DataError listing every key that is missing, malformed, out of range, or asks for
/// something sherd does not compute; another architecture is refused by its name.
[[nodiscard]] Architecture read_config(const std::string& folder);

/// The text of a config.json that every version of transformers understands.
///
/// **Shapes** `stored` is the type of the folder's tensors: fp32, bf16 or fp16.
[[nodiscard]] std::string write_config(const Architecture& architecture, DType stored);

/// Reads `folder`/adapter_config.json of PEFT: rank, alpha and targets.
///
/// **Errors** DataError listing every key that is missing or malformed, or asks for another kind of
/// adapter (DoRA, rank-stabilised, with biases, ranks by pattern).
[[nodiscard]] LoraConfig read_adapter_config(const std::string& folder);
/// The text of such a file; the architecture has adapters.
[[nodiscard]] std::string write_adapter_config(const Architecture& architecture);

/// The first parameters of `spec` as `config` asks: random for a preset, the folder's for a folder;
/// of adapters those in `lora_from`, else random.
/// With `random_init`, parameters whose tensors the folder lacks, or holds in another shape, are
/// random.
///
/// **Memory** where tensors lie transposed, 8 MiB or 1/8 of the largest such parameter.
/// **Errors** DataError listing every tensor that is missing, has another shape, or belongs to a
/// layer that has no use for it.
[[nodiscard]] std::unique_ptr<Weights> open_weights(const ModelConfig& config,
                                                    const ModelSpec& spec);

}  // namespace sherd::model
