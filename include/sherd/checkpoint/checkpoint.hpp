#pragma once
// A complete checkpoint, read by ranges. Every byte is checked before it is used.
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sherd/checkpoint/manifest.hpp"
#include "sherd/io/storage.hpp"
#include "sherd/model/weights.hpp"

namespace sherd::checkpoint {

/// **Memory** the manifest and at most 16 MiB of files for one reader.
/// **Order** any thread may read, several at once.
/// **Errors** DataError naming file, tensor and byte for anything altered, missing or cut short.
class Checkpoint {
 public:
  Checkpoint(io::Storage& storage, std::string folder);
  ~Checkpoint();

  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] const std::string& folder() const { return folder_; }
  /// Null where there is no such tensor.
  [[nodiscard]] const Tensor* find(const std::string& name) const;

  /// Fills `into` with packed_bytes of elements [first, first + count); `first` is a multiple of
  /// 256, and so is the end or it is the tensor's. The tensor has the state.
  void read(const Tensor& tensor, State state, std::uint64_t first, std::uint64_t count,
            std::span<std::byte> into) const;
  /// Elements [first, first + out.size()) as fp32: weights from whatever holds them. Ranges as
  /// above.
  void read_weights(const Tensor& tensor, std::uint64_t first, std::span<float> out) const;
  /// Elements as an update keeps them in memory, 8-bit ones in whole blocks; another type than what
  /// is kept is rounded to nearest.
  void read_moment(const Tensor& tensor, State moment, std::uint64_t first, const View& into) const;

  /// The same of weights that are kept as 8-bit blocks, as they are kept.
  void read_blocks(const Tensor& tensor, std::uint64_t first, const View& into) const;

  /// Of the weights; the same as the run's at that step.
  [[nodiscard]] std::string parameters_hash() const;
  /// Reads all of every file and recomputes every digest; what is wrong, one sentence each.
  [[nodiscard]] std::vector<std::string> verify() const;

 private:
  class Blocks;
  /// read_weights of 8-bit blocks.
  void decode(const Tensor& tensor, std::uint64_t first, std::span<float> out) const;
  void read_bytes(std::uint32_t file, Bytes offset, std::span<std::byte> into) const;
  /// "; it holds param of 'h.0.w', …": what a block is of, for messages.
  [[nodiscard]] std::string contents_of(std::uint32_t file, std::uint64_t block) const;

  std::string folder_;
  Manifest manifest_;
  std::unique_ptr<Blocks> blocks_;
};

/// The weights of a checkpoint as a model's first parameters, by name.
///
/// **Errors** DataError listing parameters it lacks or has in another shape.
[[nodiscard]] std::unique_ptr<model::Weights> weights_of(const Checkpoint& checkpoint,
                                                         const model::ModelSpec& spec);

}  // namespace sherd::checkpoint
