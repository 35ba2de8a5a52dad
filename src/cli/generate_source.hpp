#pragma once
// What `sherd generate` reads: a network, its weights, its way with text.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/data/text_codec.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::cli {

struct SourceOptions {
  std::string model;       // folder, or a preset with `random_init`
  std::string checkpoint;  // or this: a checkpoint, or a folder of them
  std::string tokenizer =
      "auto";  // file, folder, "bytes", or "auto": the folder's own or the run's, else bytes
  bool reads_text = true;  // else tokens are given, and text only comes out
  bool random_init = false;
  std::uint64_t seed = 0;  // of random weights
};

struct GenerateSource {
  model::Network network;
  std::function<std::unique_ptr<model::Weights>(const model::ModelSpec&)> weights;
  data::TextCodec codec;
  std::vector<std::int32_t> ends;                      // tokens that end a text
  std::unique_ptr<checkpoint::Checkpoint> checkpoint;  // `weights` reads from it
};

/// **Errors** ConfigError for a preset without weights and unknown names; DataError for what is in
/// folders.
[[nodiscard]] GenerateSource open_source(const SourceOptions& options);

}  // namespace sherd::cli
