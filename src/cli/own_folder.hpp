#pragma once
// A folder that goes when its owner does.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "sherd/base/errors.hpp"

namespace sherd::cli {

/// **Errors** ConfigError when `parent` takes no folder.
class OwnFolder {
 public:
  explicit OwnFolder(const std::filesystem::path& parent) : path_(parent / "sherd-bench-XXXXXX") {
    std::string name = path_.string();
    if (mkdtemp(name.data()) == nullptr)
      throw ConfigError({"bench: cannot make a folder like " + name});
    path_ = name;
  }
  ~OwnFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  OwnFolder(const OwnFolder&) = delete;
  OwnFolder& operator=(const OwnFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace sherd::cli
