#pragma once
// GPT-2 in a folder as Hugging Face lays it out. Folders come from strangers: everything is
// checked.
#include <memory>
#include <string>

#include "sherd/model/config.hpp"
#include "sherd/model/gpt2.hpp"
#include "sherd/model/weights.hpp"

namespace sherd::model {

/// Reads `folder`/config.json. Dropout probabilities in it are ignored: `--dropout` decides.
///
/// **Errors** DataError listing every key that is missing, malformed, out of range, or asks for
/// something sherd does not compute; another architecture is refused by its name.
[[nodiscard]] Gpt2Config read_gpt2_config(const std::string& folder);

/// The name in the folder's files, without "transformer.": "layer0.mlp.fc_bias" is
/// "h.0.mlp.c_fc.bias".
[[nodiscard]] std::string hugging_face_name(const std::string& param);

/// The first parameters of `spec` as `config` asks: random for a preset, the folder's for a folder.
/// With `random_init`, tensors the folder lacks, or holds in another shape, are random.
///
/// **Errors** DataError listing every tensor that is missing or has another shape.
[[nodiscard]] std::unique_ptr<Weights> open_weights(const ModelConfig& config,
                                                    const ModelSpec& spec);

}  // namespace sherd::model
