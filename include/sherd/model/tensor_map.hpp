#pragma once
// Which tensors a network has in a Hugging Face folder, and which elements of our parameters they
// are. Reading and writing folders both follow it.
#include <cstdint>
#include <string>
#include <vector>

#include "sherd/model/presets.hpp"

namespace sherd::model {

/// Holds columns [first_column, first_column + columns) of every row of `param`.
///
/// **Shapes** with `param` [rows, cols]: the tensor is [columns] where rows is 1, else
/// [columns, rows] if transposed and [rows, columns] if not. Transposed, tensor[j][i] is
/// param[i][first_column + j].
struct FolderTensor {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  std::vector<std::uint64_t> shape;
  std::string param;  // "layer0.attention.qkv_weight"
  std::int64_t first_column = 0, columns = 0;
  bool transposed = false;
};

/// Every element of every parameter exactly once, the network's order of tensors. A tied table is
/// one tensor, under the name it has as the input's.
[[nodiscard]] std::vector<FolderTensor> tensor_map(const Architecture& architecture);

/// "layer0.attention.q_proj" where the tensor's part of its weight has an adapter, else nothing:
/// its parameters end with .lora_a and .lora_b.
[[nodiscard]] std::string adapter_of(const Architecture& architecture, const FolderTensor& tensor);

/// Which tensors the adapters of a network have in a folder of PEFT.
[[nodiscard]] std::vector<FolderTensor> adapter_map(const Architecture& architecture);

/// What names in the folder of a whole language model start with, and those of its bare body do
/// not: "model.".
[[nodiscard]] std::string body_prefix(const Architecture& architecture);

}  // namespace sherd::model
