#pragma once
// The run options of one app, kept with it.
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/field_json.hpp"
#include "sherd/cli/options.hpp"

namespace sherd::cli {

/// A nameless, disabled subcommand: it takes no part in parsing, the app owns it and parse() finds
/// it there.
class RunFlags final : public CLI::App {
 public:
  RunFlags(CLI::App& app, launch::RunConfig& config, RunOptions wanted);

  /// Reads `--config` and the flags into the config and adds every problem to `problems`.
  void apply(std::vector<std::string>& problems);

  /// With it, a plain `app.parse()` does not apply the flags itself.
  void collect() { collected_ = true; }

  [[nodiscard]] bool prints_config() const { return print_config_->count() > 0; }
  [[nodiscard]] std::string dump() const { return dump_fields(fields_); }
  [[nodiscard]] const launch::RunConfig& config() const { return config_; }

 private:
  void add_flag_for(CLI::App& app, const launch::Field& field);
  bool apply_once();
  void read_config_file(std::vector<std::string>& problems);
  void read_flag(std::size_t index, std::vector<std::string>& problems);
  void check_given(std::vector<std::string>& problems) const;
  void check_all(std::vector<std::string>& problems) const;

  launch::RunConfig& config_;
  RunOptions wanted_;
  std::vector<launch::Field> fields_;
  std::vector<CLI::Option*> options_of_fields_;
  std::vector<std::string> blamed_;  // keys whose value was not understood
  CLI::Option* config_file_ = nullptr;
  CLI::Option* print_config_ = nullptr;
  bool collected_ = false;
};

}  // namespace sherd::cli
