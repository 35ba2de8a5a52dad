#include "sherd/model/tensor_map.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "sherd/io/tensor_folder.hpp"
#include "sherd/model/hugging_face.hpp"

using namespace sherd;

namespace {

std::vector<model::Architecture> networks() {
  std::vector<model::Architecture> all;
  for (const char* name : {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"})
    all.push_back(model::read_config(std::string(SHERD_FIXTURES "/") + name + "_parity"));
  return all;
}

std::uint64_t numel(const std::vector<std::uint64_t>& shape) {
  std::uint64_t product = 1;
  for (const std::uint64_t size : shape) product *= size;
  return product;
}

}  // namespace

TEST_CASE("the map has the names and shapes of what transformers wrote, and no others") {
  for (const char* name : {"gpt2", "llama", "llama_tied", "qwen2", "qwen3"}) {
    CAPTURE(name);
    const std::string path = std::string(SHERD_FIXTURES "/") + name + "_parity";
    const io::TensorFolder folder(path);
    const auto map = model::tensor_map(model::read_config(path));
    CHECK(map.size() == folder.tensors().size());
    for (const model::FolderTensor& tensor : map) {
      CAPTURE(tensor.name);
      REQUIRE(folder.contains(tensor.name));
      CHECK(folder.at(tensor.name).shape == tensor.shape);
    }
  }
}

TEST_CASE("the map holds every element of every parameter exactly once") {
  for (const model::Architecture& network : networks()) {
    const model::ModelSpec spec = model::declare(model::build(network).model, {}, {1, 8});
    std::map<std::string, std::vector<int>> columns;
    std::set<std::string> names;
    for (const model::ParamSpec& param : spec.params)
      columns[param.name].resize(static_cast<std::size_t>(param.shape.cols));
    for (const model::FolderTensor& tensor : model::tensor_map(network)) {
      CHECK(names.insert(tensor.name).second);
      REQUIRE(columns.contains(tensor.param));
      for (std::int64_t k = 0; k < tensor.columns; ++k)
        ++columns[tensor.param].at(static_cast<std::size_t>(tensor.first_column + k));
      for (const model::ParamSpec& param : spec.params)
        if (param.name == tensor.param)
          CHECK(numel(tensor.shape) ==
                static_cast<std::uint64_t>(param.shape.rows * tensor.columns));
    }
    for (const auto& [name, counts] : columns)
      for (const int count : counts) CHECK_MESSAGE(count == 1, name);
  }
}
