#pragma once
// Weights as folders in Hugging Face layout, both ways.
#include <string>

#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::checkpoint {

struct ExportOptions {
  DType type = DType::f32;           // of the tensors: f32, bf16 or f16, to nearest even
  Bytes file_bytes = 5'000'000'000;  // a file is closed before it grows larger
};

/// Writes config.json and the weights of a checkpoint into a new folder, under the names and in the
/// layout of transformers; several files and their index where one would be too large. Adapters are
/// merged into the weights they stand beside. Returns how many numbers it wrote.
///
/// **Memory** 64 MiB, or two rows of the widest parameter.
/// **Errors** ConfigError for the folder; DataError for the checkpoint, or what cannot be written.
std::uint64_t export_folder(const Checkpoint& from, const std::string& folder,
                            const ExportOptions& options = {});

/// Writes the adapters alone, as PEFT does: adapter_config.json and adapter_model.safetensors.
///
/// **Errors** as above; ConfigError for a checkpoint without adapters.
std::uint64_t export_adapters(const Checkpoint& from, const std::string& folder,
                              DType type = DType::f32);

/// Makes the first checkpoint of a run, step 0, out of such a folder.
///
/// **Memory** 64 MiB.
/// **Errors** ConfigError for `root`, or when it holds checkpoints already; DataError.
[[nodiscard]] std::string import_folder(io::Storage& storage, const std::string& folder,
                                        const std::string& root, const std::string& library);

}  // namespace sherd::checkpoint
