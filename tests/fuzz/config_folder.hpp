#pragma once
// A folder with one configuration file, which is in memory.
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "fuzz/memory_file.hpp"
#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::fuzz {

class ConfigFolder {
 public:
  explicit ConfigFolder(const std::string& name) {
    std::filesystem::create_symlink(memory_.path(), folder_.path() + "/" + name);
  }
  /// What `reader` makes of the folder; nothing if it is refused.
  template <class Reader>
  auto read(const std::string& content, Reader&& reader) const {
    memory_.fill(content);
    std::optional<decltype(reader(folder_.path()))> found;
    try {
      found.emplace(reader(folder_.path()));
    } catch (const DataError&) {
      found.reset();
    }
    return found;
  }

 private:
  MemoryFile memory_;
  test::TempFolder folder_;
};

}  // namespace sherd::fuzz
