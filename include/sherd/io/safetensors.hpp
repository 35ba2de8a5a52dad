#pragma once
// The index of a safetensors file.
// Source: github.com/huggingface/safetensors, README "Format".
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sherd/base/dtype.hpp"
#include "sherd/io/file.hpp"

namespace sherd::io {

struct TensorEntry {
  std::string dtype;          // as the file says: "F32"
  std::optional<DType> type;  // F32, F16, BF16; nothing for types sherd cannot load
  std::vector<std::uint64_t> shape;
  Bytes offset = 0;  // in the file
  Bytes bytes = 0;
};

using TensorIndex = std::map<std::string, TensorEntry>;

/// Reads the header and checks it: the tensors cover the rest of the file exactly, without
/// overlap or gap, each as large as its shape and type say.
///
/// **Memory** at most the header (100 MiB) and its parsed form.
/// **Errors** DataError naming file, tensor and what was found.
[[nodiscard]] TensorIndex read_safetensors_index(const File& file);

}  // namespace sherd::io
