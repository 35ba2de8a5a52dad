#pragma once
// First parameters out of a folder's tensors, by ranges.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/panels.hpp"
#include "sherd/io/tensor_folder.hpp"
#include "sherd/model/tensor_map.hpp"
#include "sherd/model/weights.hpp"

namespace sherd::model {

class FolderWeights final : public Weights {
 public:
  /// `otherwise` gives the parameters that are not bound.
  FolderWeights(const std::string& folder, std::unique_ptr<Weights> otherwise,
                const std::string& stem = "model")
      : tensors_(folder, stem), otherwise_(std::move(otherwise)) {}

  /// From now on `param` is read from `pieces`, which hold all of it; each sentence says what is
  /// wrong, and then it is not bound.
  std::vector<std::string> bind(const ParamSpec& param, std::vector<FolderTensor> pieces,
                                const std::string& prefix);
  /// Tensors whose names start like this one, with or without the prefix, and are not bound.
  [[nodiscard]] std::vector<std::string> unused(const std::string& start,
                                                const std::string& prefix) const;

  void read(const ParamSpec& param, std::uint64_t first, std::span<float> out) const override;
  std::uint64_t fingerprint() const override;

 private:
  void read_tensor(const std::string& name, std::uint64_t first, std::span<float> out) const;
  void read_lying(const FolderTensor& piece, std::uint64_t first, std::span<float> out) const;
  struct Rows {
    Shape shape;  // of the whole parameter
    DType type;
  };
  [[nodiscard]] DType common_type(const std::vector<FolderTensor>& pieces) const;
  void fill(const FolderTensor& piece, const Rows& to, std::int64_t first_row,
            std::span<std::byte> rows) const;

  io::TensorFolder tensors_;
  std::unique_ptr<Weights> otherwise_;
  std::map<std::string, std::vector<FolderTensor>> bound_;  // by parameter, under the file's names
  mutable Panels panels_;
};

}  // namespace sherd::model
