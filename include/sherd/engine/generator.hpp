#pragma once
// A network that continues one sequence: weights, keys and values so far, and room for one pass, in
// one arena of a size known before.
#include <memory>
#include <span>
#include <vector>

#include "sherd/device/stream.hpp"
#include "sherd/memory/arena.hpp"
#include "sherd/model/spec.hpp"
#include "sherd/model/weights.hpp"

namespace sherd::engine {

struct GeneratorConfig {
  DType compute = DType::f32;     // of weights, activations and cache; logits are fp32
  int threads = 1;                // change no bit
  std::int64_t vocab_size = 0;    // logits of a position
  std::int64_t capacity = 0;      // positions of the sequence
  std::int64_t prompt_rows = 64;  // of a prompt that pass at once
};

struct GeneratorMemory {
  Bytes weights = 0, cache = 0;
  Bytes work = 0;  // activations, scratch, logits
  [[nodiscard]] Bytes total() const { return weights + cache + work; }
};

/// **Memory** one arena of exactly `memory().total()` bytes; a pass allocates no other for tensors.
/// **Order** a pass has ended on return; one thread calls.
class Generator {
 public:
  /// **Errors** UsageError: a block that cannot generate, a capacity beyond the network's context.
  [[nodiscard]] static GeneratorMemory plan(const Model& model, const GeneratorConfig& config);

  /// `model` outlives this. **Errors** as `plan`; CapacityError without the memory.
  Generator(const Model& model, const GeneratorConfig& config);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  [[nodiscard]] const model::ModelSpec& spec() const { return spec_; }
  [[nodiscard]] const GeneratorMemory& memory() const { return memory_; }
  /// All weights as they lie in memory, in the compute type.
  [[nodiscard]] std::span<const std::byte> weights() const {
    return arena_.bytes().first(memory_.weights);
  }
  [[nodiscard]] std::int64_t position() const { return position_; }
  [[nodiscard]] std::int64_t capacity() const { return config_.capacity; }

  /// Reads every weight once; 16-bit ones are rounded to nearest.
  void load(const model::Weights& weights);
  /// Takes tokens up behind those before, and gives the logits of what comes next, which last until
  /// the next call. Tokens are trusted to be inside the vocabulary.
  ///
  /// **Errors** UsageError for none, or more than there is room for.
  std::span<const float> extend(std::span<const std::int32_t> tokens);
  /// Forgets what is behind `position`.
  void rewind(std::int64_t position);

 private:
  struct Pass;
  [[nodiscard]] std::unique_ptr<Pass> bound(std::int64_t rows) const;
  void run(Pass& pass, std::span<const std::int32_t> tokens);
  std::span<const float> finish(Pass& pass);

  const Model& model_;
  GeneratorConfig config_;
  GeneratorMemory memory_;
  model::ModelSpec spec_;  // of one row
  memory::Arena arena_;
  device::Stream stream_;
  std::vector<View> params_, caches_;  // by parameter; by block
  std::unique_ptr<Pass> row_;          // of one row
  std::int64_t position_ = 0;
};

}  // namespace sherd::engine
