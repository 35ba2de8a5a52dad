#pragma once
// What a user writes. A block declares sizes once and computes on views. It never allocates,
// communicates or waits, and cannot learn the rank, world, stage, tier or micro-step.
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/base/philox.hpp"
#include "sherd/base/view.hpp"
#include "sherd/device/stream.hpp"
#include "sherd/kernels/exact_sum.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd {

enum class ParamId : std::uint16_t {};
enum class SaveId : std::uint16_t {};
enum class Keep : std::uint8_t {
  always,
  cheap
};  // cheap: under `--recompute selective` backward rebuilds it

/// Normal(mean, stddev); stddev 0 is a constant.
struct Init {
  float mean = 0, stddev = 0;
};

/// One micro-batch on the device; any block may read it.
struct Batch {
  View inputs;  // [sequences, input columns]: token ids (i32) or features (fp32)
  View labels;  // [sequences, label columns]: i32 (ignored_label counts nothing) or fp32
};

/// Collects what a block needs. Pure: sizes are functions of shapes and target, never of this
/// machine.
class Declare {
 public:
  virtual ~Declare() = default;
  [[nodiscard]] virtual const Target& target() const = 0;
  /// [sequences, length] of a micro-batch.
  [[nodiscard]] virtual Shape rows() const = 0;
  /// Activations in and out, in the compute type. The first block has no input.
  virtual void input(Shape shape) = 0;
  virtual void output(Shape shape) = 0;
  /// This block is the parameter's home; `name` is unique in the block. Ids count from 0 in
  /// declaration order.
  virtual ParamId param(std::string_view name, Shape shape, Init init) = 0;
  /// A parameter of an earlier block: one storage, one gradient.
  virtual ParamId tied(std::string_view block, std::string_view name) = 0;
  /// Those of the parameters declared so far that backward reads. Without this call, and of later
  /// ones: all.
  virtual void backward_reads(std::initializer_list<ParamId> params) = 0;
  /// Written by forward, read by backward. Backward finds a `cheap` one lost when it was dropped.
  virtual SaveId save(std::string_view name, Shape shape, DType type, Keep keep = Keep::always) = 0;
  /// Backward reads the block's input.
  virtual void save_input() = 0;
  /// Forward and backward draw from `rng`. Without this call its bits are the same at every step.
  virtual void random() = 0;
  /// Bytes of temporary memory, 64-byte aligned when used.
  virtual void scratch(Bytes forward, Bytes backward) = 0;
};

struct Forward {
  StreamRef stream;
  const Batch& batch;
  Philox rng;  // of (seed, step, leaf, block): the same when recomputed
  View in, out, scratch;
  std::span<const View> params, saves;
  bool training = true;  // false in evaluation and generation: nothing is dropped
};

struct Backward {
  StreamRef stream;
  const Batch& batch;
  Philox rng;
  View in, d_out, d_in, scratch;  // `in` only after save_input; d_in is absent for the first block
  std::span<const View> params, saves;  // params backward does not read are absent
  std::span<const bool> lost;           // this save has undefined contents: rebuild it first
  std::span<const Grad> grads;  // must be written, but those that are absent: of frozen ones
};

/// Forward, loss and backward of the head, chunk by chunk of rows, so logits never exist in full.
struct LossCall {
  StreamRef stream;
  const Batch& batch;
  View in, d_in, scratch;  // d_in and grads absent: evaluation
  std::span<const View> params;
  std::span<const Grad> grads;  // of scale · (sum of token losses) / nominal_tokens
  const float* scale;           // in the control buffer, on the device; null: evaluation
  double nominal_tokens;        // a constant of the run; the true count divides once, in `decide`
  kernels::LossSum* sums;       // += per chunk
};

/// Rows that continue their sequences, in generation: those before them are what `cache` keeps.
struct Extend {
  const Forward& rows;              // of the new rows alone; what it saves nobody reads
  View cache;                       // this block's own, kept between calls
  std::int64_t first_position = 0;  // of the first new row of every sequence
  std::int64_t capacity = 0;        // positions the cache has room for
};
struct ExtendShape {
  Target target;
  Shape rows;  // [sequences, new rows of each]
  std::int64_t capacity = 0;
};
struct ExtendNeeds {
  Bytes cache = 0;    // of all sequences
  Bytes scratch = 0;  // where forward's is less
};

class Block {
 public:
  virtual ~Block() = default;
  virtual void declare(Declare& d) const = 0;  // pure
  virtual void forward(const Forward& f) = 0;
  virtual void backward(const Backward& b) = 0;
  /// Nothing: the block cannot generate. Pure.
  [[nodiscard]] virtual std::optional<ExtendNeeds> extend_needs(const ExtendShape& shape) const;
  /// As forward of whole sequences gives the new rows; by default forward of these rows, which is
  /// that where no row depends on another or on its position.
  virtual void extend(const Extend& e);
};

class Head {
 public:
  virtual ~Head() = default;
  virtual void declare(Declare& d) const = 0;
  virtual void loss(const LossCall& call) = 0;
  /// As many rows as `out` has; fp32.
  virtual void logits(const Forward& f) = 0;
};

/// Blocks in order, then a head. The part of a name before its first dot is the layer: blocks of
/// one layer share a bucket ("layer0.attention", "layer0.mlp").
struct Model {
  struct Entry {
    std::string name;
    std::unique_ptr<Block> block;
  };
  std::vector<Entry> blocks;
  std::unique_ptr<Head> head;
  /// Of a parameter's name: it is never trained. Nothing: all are.
  std::function<bool(std::string_view)> frozen{};

  template <class B, class... Args>
  Model& add(std::string name, Args&&... args) {
    blocks.push_back({std::move(name), std::make_unique<B>(std::forward<Args>(args)...)});
    return *this;
  }
  template <class H, class... Args>
  Model& end(Args&&... args) {
    head = std::make_unique<H>(std::forward<Args>(args)...);
    return *this;
  }
};

}  // namespace sherd
