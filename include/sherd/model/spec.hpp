#pragma once
// What a model declared: the input of layout and program.
#include <string>
#include <vector>

#include "sherd/model/block.hpp"

namespace sherd::model {

struct ParamSpec {
  std::string name;  // "layer0.attention.qkv"
  Shape shape;
  Init init;
  std::size_t home = 0;   // block index
  bool trainable = true;  // false: it stays as it was loaded
};

struct SaveSpec {
  std::string name;
  Shape shape;
  DType type;
  Keep keep;
  [[nodiscard]] Bytes bytes() const { return static_cast<Bytes>(shape.numel()) * size_of(type); }
};

/// The head is the last one, named "head"; its output is empty.
struct BlockSpec {
  std::string name, layer;
  Shape in{0, 0}, out{0, 0};
  std::vector<std::size_t> params;   // indices into ModelSpec::params, in the block's own order
  std::vector<bool> backward_reads;  // by position in `params`
  std::vector<SaveSpec> saves;
  bool save_input = false;
  bool random = false;  // draws from its rng
  Bytes scratch_forward = 0, scratch_backward = 0;
};

struct ModelSpec {
  Target target;
  Shape rows;                     // [sequences, length] of a micro-batch
  std::vector<ParamSpec> params;  // in order of declaration, frozen ones first; names are unique
  std::vector<BlockSpec> blocks;  // with the head as last

  [[nodiscard]] std::uint64_t parameters() const;  // unpadded, tied ones once
  [[nodiscard]] std::uint64_t trainable() const;   // of them
  /// Some parameter of the block has a gradient.
  [[nodiscard]] bool trains(std::size_t block) const;
};

/// Runs every `declare`.
///
/// **Errors** UsageError naming the block: shapes that do not chain, unknown tied name, name used
/// twice, no head.
[[nodiscard]] ModelSpec declare(const Model& model, const Target& target, Shape rows);

}  // namespace sherd::model
