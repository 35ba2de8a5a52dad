#pragma once
// A folder that appears whole or not at all.
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/base/dtype.hpp"
#include "sherd/io/storage.hpp"

namespace sherd::io {

/// Hidden beside its place until it is published; removed when it is not.
///
/// **Errors** ConfigError when there is something at its place already, or it cannot be made there;
/// DataError naming path and call for what fails later.
class NewFolder {
 public:
  NewFolder(Storage& storage, std::string place);
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  ~NewFolder();

  /// A file in it; write it, sync it, close it.
  [[nodiscard]] Stored create(const std::string& name);
  void write(const std::string& name, std::string_view text);
  /// Syncs the names, and renames it to its place.
  void publish();
  [[nodiscard]] const std::string& place() const { return place_; }

 private:
  Storage& storage_;
  std::string place_, path_;
  Stored held_;  // the lock on it, where the file system has locks
  std::vector<std::string> names_;
  bool published_ = false;
};

/// A tensor of a file to be written.
struct NewTensor {
  std::string name;
  DType type = DType::f32;  // f32, bf16 or f16
  std::vector<std::uint64_t> shape;
  [[nodiscard]] std::uint64_t numel() const;
};
/// The head of a safetensors file that holds these, one behind the other: their bytes follow it.
/// **Source** github.com/huggingface/safetensors, README "Format"; the format is said to be "pt".
[[nodiscard]] std::string safetensors_head(std::span<const NewTensor> tensors);

}  // namespace sherd::io
