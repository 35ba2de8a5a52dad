#pragma once
// Named tensors in a folder as Hugging Face lays it out.
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sherd/io/file.hpp"
#include "sherd/io/safetensors.hpp"

namespace sherd::io {

/// The tensors of `model.safetensors`, or of the files `model.safetensors.index.json` names; with
/// another stem, of files named like that.
///
/// **Memory** the index; tensors are read by parts.
/// **Errors** DataError; a file outside the folder, a tensor its file lacks, or a type sherd
/// cannot load is refused by name.
class TensorFolder {
 public:
  struct Tensor {
    TensorEntry entry;
    std::size_t file = 0;
  };

  explicit TensorFolder(const std::string& folder, const std::string& stem = "model");

  /// Does the folder hold weights in a layout this class reads?
  [[nodiscard]] static bool holds_weights(const std::string& folder);

  [[nodiscard]] const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  [[nodiscard]] bool contains(const std::string& name) const { return tensors_.contains(name); }
  /// The entry of a tensor that is there and of type F32, F16 or BF16.
  [[nodiscard]] const TensorEntry& at(const std::string& name) const;
  /// Fills `into` with the tensor's bytes from byte `offset` of the tensor on.
  void read(const std::string& name, std::span<std::byte> into, Bytes offset = 0) const;

 private:
  void open_single(const std::string& path);
  void open_sharded(const std::string& index_path);
  [[nodiscard]] const Tensor& loadable(const std::string& name) const;

  std::string folder_;
  std::vector<File> files_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace sherd::io
